"""Start of each part of the command: its first line, then its libraries, which take seconds."""

from importlib import import_module

from ._progress import percent

_ALL = "fit", "transform", "report", "info", "convert"
# Shares of the time that libraries take to import, in this order, and what needs them.
_LIBRARIES = {
    "scipy.sparse": (2, _ALL),
    "sklearn.linear_model": (9, _ALL),
    "torch": (11, _ALL),
    "numba": (2, _ALL),
    "matplotlib.figure": (5, ("fit",)),
}
_FIRST_LINES = {
    "fit": "Top-K sparse autoencoders learn {learned}.",
    "transform": "codes of images by a saved model.",
    "report": "a report on a saved model and images.",
    "convert": "models from one library to another.",
}


def start(options, progress, version):
    """Run what the options ask for."""
    if options.command != "info":
        folder = getattr(options, "folder", None)
        learned = "crops of two photographs" if folder is None else "images of a folder"
        line = _FIRST_LINES[options.command].format(learned=learned)
        progress.say(f"skl_sae {version}: {line}")
    _load_libraries(options.command, progress)
    from ._coding import told

    run = _runner(options.command)
    with told(progress):
        run(options, progress)


def _load_libraries(command, progress):
    """Import what takes long, for the progress to tell how long."""
    shares = {name: share for name, (share, commands) in _LIBRARIES.items() if command in commands}
    progress.begin("Loading libraries", sum(shares.values()), percent)
    for name, share in shares.items():
        import_module(name)
        progress.add(share)


def _runner(command):
    if command == "fit":
        from ._run import run
    elif command == "transform":
        from ._apply import transform as run
    elif command == "report":
        from ._apply import report as run
    elif command == "info":
        from ._info import info as run
    else:
        from ._convert import convert as run
    return run
