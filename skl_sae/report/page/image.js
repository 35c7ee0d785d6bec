// An image's details: its reconstruction built up of its atoms, each of which can be changed.

const AT_FIRST = 24; // atoms that are listed before "more"
const edits = new Map(); // of each image: which atoms are on, their factors, the slider

function imageView(i) {
  const label = imageClass(i);
  const names = ["Original", ADDED ? "Built up" : "Reconstruction", "Difference"];
  const views = names.map((name) => canvas(`${name}, ${imageName(i)}`));
  const frames = PLACES ? [0, 1].map(() => make("div", {class: "frame", hidden: ""})) : [];
  const pictures = views.map((view, v) => (frames[v] ? make("div", {class: "framed"}, view, frames[v]) : view));
  const stage = make("div", {class: "stage"},
    make("div", {class: "views"}, ...pictures.map((view, v) => make("figure", {}, make("figcaption", {}, names[v]), view))));
  const [below, python] = [make("div", {}), make("div", {})];
  if (ADDED) buildUp(i).then((built) => fillEditor(new Editor(built, views, frames), stage, below, python));
  else showWhole(i, views, frames, stage, below);
  const pairs = [
    ["Correlation", correlationText(images.correlation[i])],
    ...(label === null ? [] : [["Class", make("span", {class: "name"}, label)]]),
    ["Row", String(images.row[i])],
    ["Active atoms", images.active[i].toLocaleString("en-GB")],
  ];
  return [make("div", {class: "beside"}, stage, make("div", {}, facts(pairs), colourKey("difference"))), below, ...similarImages(i),
    ...pythonOf({kind: "image", index: i}, python)];
}

/** The tile of the atom of an entry; that of a small atom frames its place while it is pointed at. */
function ownTile(entry, frames, shown) {
  const tile = atomTile(images.atom[entry], figure(images.code[entry]));
  if (frames.length) {
    const point = (place) => frames.forEach((frame) => moveFrame(frame, place));
    for (const name of ["pointerenter", "focus"]) tile.addEventListener(name, () => point(images.place[entry]));
    for (const name of ["pointerleave", "blur"]) tile.addEventListener(name, () => point(shown()));
  }
  return tile;
}

/** Show an image whose atoms do not add up. */
function showWhole(i, views, frames, stage, below) {
  paintTriple(i, views);
  stage.append(make("p", {class: "note"},
    "Patches are normalized: each has its own mean and spread put back, so atoms do not simply add up."));
  const entries = range(images.indptr[i + 1] - images.indptr[i]).map((s) => images.indptr[i] + s);
  below.append(...section("Its code: the atoms used, the strongest first, and how much of each",
    make("div", {class: "grid small"}, ...entries.map((entry) => ownTile(entry, frames, () => null)))));
}

/** An image's atoms as they are switched and scaled, and the pictures that follow. */
class Editor {
  constructor(built, views, frames) {
    Object.assign(this, {built, views, frames, n: built.indices.length, followers: []});
    if (!edits.has(built.i)) edits.set(built.i, this.untouched());
    this.state = edits.get(built.i);
    paint(views[0], built.original);
  }

  untouched() {
    return {steps: this.built.last, on: Array(this.n).fill(true), factors: Array(this.n).fill(1)};
  }

  reset() {
    Object.assign(this.state, this.untouched());
    this.update();
  }

  /** Switch the first atoms on and all others off. */
  setSteps(steps) {
    this.state.steps = steps;
    this.state.on = this.state.on.map((_, s) => s < steps);
    this.update();
  }

  get weights() { return this.state.factors.map((factor, s) => (this.state.on[s] ? factor : 0)); }

  /** Whether the atoms that were too many to be listed are in. */
  get rest() { return this.built.rest && this.state.steps === this.built.last; }

  /** Whether the weights are all there is: none is left out but by its weight. */
  get isComplete() { return this.rest || !this.built.rest; }

  get isEdited() {
    const {on, factors, steps} = this.state;
    return on.some((is, s) => is !== s < steps) || factors.some((factor, s) => on[s] && factor !== 1);
  }

  /** The place of the atom that the slider has added last; null once all are in. */
  get lastPlace() {
    const s = this.state.steps;
    return s > 0 && s < this.built.last ? this.built.places[s - 1] : null;
  }

  update() {
    const {built, state, n} = this;
    const sum = addUp(built, this.weights, this.rest);
    const isWhole = !this.isEdited && state.steps === built.last && n;
    const bytes = isWhole ? built.guess : asBytes(sum);
    paint(this.views[1], bytes);
    paint(this.views[2], difference(built.original, bytes), true);
    this.frames.forEach((frame) => moveFrame(frame, this.lastPlace));
    this.r = this.isEdited ? correlation(built.original, sum) : built.curve[state.steps];
    this.followers.forEach((follow) => follow());
  }

  /** The atoms that are in, and the correlation, in words. */
  describe() {
    const {built, state} = this;
    const all = count(images.active[built.i], "atom");
    const n = state.on.filter(Boolean).length + (this.rest ? images.active[built.i] - this.n : 0);
    const scaled = state.factors.filter((factor, s) => state.on[s] && factor !== 1).length;
    let what = n === 0 ? "the centre alone" : this.rest && n === images.active[built.i] ? `all ${all}` : `${n} of ${all}`;
    if (scaled) what += `, ${scaled} of them scaled`;
    what += ` · correlation ${correlationText(this.r)}`;
    if (!this.isEdited) return what;
    this.unchanged ??= correlation(built.original, addUp(built, state.on.map(() => 1), true));
    return `${what}, unchanged ${correlationText(this.unchanged)}`;
  }
}

/** The slider, the atoms' switches and the chart of an image. */
function fillEditor(editor, stage, below, python) {
  stage.append(stepSlider(editor));
  const reset = make("button", {type: "button", click: () => editor.reset()}, "Reset all");
  const none = make("button", {type: "button", click: () => editor.setSteps(0)}, "Switch all off");
  editor.followers.push(() => { reset.disabled = !editor.isEdited && editor.state.steps === editor.built.last; });
  below.append(
    make("div", {class: "head"}, make("h3", {}, "Its code: the atoms used, the strongest first, and how much of each"),
      make("div", {class: "tools"}, none, reset)),
    make("p", {class: "note"}, "Switch atoms off, or scale them: the picture follows at once. So does the correlation, which is then that of the thumbnails. "
      + "The slider above switches on the first atoms and all others off."),
    ...controls(editor), ...section("As they add up", correlationChart(editor)));
  python.append(editedPython(editor));
  editor.update();
}

function stepSlider(editor) {
  const slider = make("input", {
    type: "range", min: 0, max: editor.built.last, step: 1, "aria-label": "Atoms added up",
    input: () => editor.setSteps(Number(slider.value)),
  });
  const output = make("output");
  editor.followers.push(() => {
    slider.value = editor.state.steps;
    output.textContent = editor.describe();
    slider.setAttribute("aria-valuetext", output.textContent);
  });
  return make("div", {class: "slider"}, slider, output);
}

/** The list of atoms with a switch and a slider each, at first of the strongest ones alone. */
function controls(editor) {
  const list = make("div", {class: "grid small controls"});
  const more = make("button", {class: "more", type: "button", click: () => {
    extend(editor.n);
    list.children[AT_FIRST].querySelector("input").focus();
  }}, `Show more (${AT_FIRST} of ${editor.n})`);
  const extend = (end) => {
    range(end).slice(list.children.length).forEach((s) => list.append(control(editor, s)));
    more.hidden = list.children.length === editor.n;
  };
  extend(Math.min(AT_FIRST, editor.n));
  return [list, more];
}

/** An atom's tile, its switch and the slider of its factor. */
function control(editor, s) {
  const {built, state} = editor;
  const name = entryName(built, s);
  const tile = ownTile(images.indptr[built.i] + s, editor.frames, () => editor.lastPlace);
  const changed = (change) => () => { change(); editor.update(); };
  const isOn = make("input", {type: "checkbox", role: "switch", "aria-label": `${name} on`,
    input: changed(() => { state.on[s] = isOn.checked; })});
  const factor = make("input", {type: "range", min: 0, max: 3, step: 0.1, "aria-label": `Factor of ${name}`,
    input: changed(() => { state.factors[s] = Number(factor.value); state.on[s] = true; })});
  const reset = make("button", {type: "button", class: "quiet", "aria-label": `Reset ${name}`,
    click: changed(() => { state.factors[s] = 1; state.on[s] = true; isOn.focus(); })}, "↺");
  const text = make("span", {});
  const follow = () => {
    isOn.checked = state.on[s];
    factor.value = state.factors[s];
    text.textContent = `×${state.factors[s].toFixed(1)}`;
    factor.setAttribute("aria-valuetext", `${state.factors[s].toFixed(1)} times`);
    reset.disabled = state.on[s] && state.factors[s] === 1;
    tile.classList.toggle("silent", !editor.weights[s]);
  };
  editor.followers.push(follow);
  follow();
  return make("div", {class: "control", role: "group", "aria-label": name},
    tile, make("div", {class: "knobs"}, make("label", {class: "switch"}, isOn, text), reset, factor));
}

/** An atom, and the place at which a small one is. */
function entryName(built, s) {
  const label = labelOf(built.indices[s]);
  const name = atomName(built.indices[s]) + (label && `, ${label},`);
  if (!PLACES) return name;
  const [row, column] = [Math.floor(built.places[s] / PLACES.columns), built.places[s] % PLACES.columns];
  return `${name} at place ${row}, ${column}`;
}

function correlationChart(editor) {
  const {curve, last} = editor.built;
  const label = `Correlation from ${correlationText(curve[0])} with no atom to ${correlationText(curve[last])} with all`;
  const frame = lineChart(label, [curve.map((r, s) => [s, r])], "atoms", {x: [0, Math.max(1, last)], whole: true});
  const mark = draw("circle", {class: "dot second", r: 5});
  frame.svg.append(mark);
  editor.followers.push(() => {
    mark.setAttribute("cx", frame.x(editor.state.steps));
    mark.setAttribute("cy", frame.y(editor.r));
  });
  return make("div", {class: "charts"}, chart("Correlation with the original", frame.svg));
}
