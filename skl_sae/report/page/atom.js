// An atom's details.

function atomView(j) {
  const pairs = isDead(j) ? [["Use", "fires on none of the images"]] : [
    ["Use", `fires on ${percent(atoms.frequency[j])} of the images`],
    ...(PLACES ? [["Places", `fires at ${percent(atoms.place_frequency[j])} of all places`]] : []),
    ["Activation", `${figure(atoms.mean[j])} on average where it fires, ${figure(atoms.max[j])} at most`],
    ["Share", `${percent(atoms.share[j])} of the reconstructions' variance`],
  ];
  pairs.push(...measurePairs(j));
  const parts = [make("div", {class: "split"}, make("div", {}, thumbnail("atom", j, atomName(j)), colourKey("atom")),
    make("div", {}, facts(pairs), labelField(j)))];
  if (!isDead(j)) {
    parts.push(...topImages(j), ...withoutAtom(j), ...weakerImages(j), make("div", {class: "pair"}, ...[classTable(j), activations(j)]
      .filter((part) => part.length).map((part) => make("div", {}, ...part))));
  }
  return [...parts, ...togetherAtoms(j), ...nearestAtoms(j), ...pythonOf({kind: "atom", index: j})];
}

/** The strongest places where an atom fires in one of the images chosen for it. */
function placesOf(list, entry) {
  const n = atoms[`${list}_place`].length / atoms[list].length;
  return Array.from(atoms[`${list}_place`].slice(entry * n, (entry + 1) * n)).filter((place) => place >= 0);
}

/** An image on which an atom fires, with its activation; those of small atoms have frames. */
function firingTile(list, entry) {
  const i = atoms[list][entry];
  const picture = thumbnail("image", i, imageName(i));
  return tileOf({kind: "image", index: i}, {title: imageName(i)},
    PLACES ? framed(picture, placesOf(list, entry)) : picture,
    make("div", {class: "caption"}, make("span", {class: "name"}, unseen(`${imageName(i)} `), imageClass(i) ?? ""),
      make("span", {}, unseen(", activation "), figure(atoms[`${list}_code`][entry]))));
}

/** The entries of an atom, or of one of its parts, that stand for an image. */
const entriesOf = (list, part, n) => range(n).map((t) => part * n + t).filter((entry) => atoms[list][entry] >= 0);

function topImages(j) {
  const found = entriesOf("top", j, atoms.top.length / N_ATOMS);
  const title = "Images on which it fires most strongly";
  if (!found.length) return section(title, make("p", {class: "muted"}, "None of those shown on this page."));
  return section(title, make("div", {class: "grid small top"}, ...found.map((entry) => firingTile("top", entry))));
}

const BANDS = ["Upper quarter", "Middle half", "Lower quarter"];

/** Images from the quantiles of an atom's activations, evenly spaced in rank. */
function weakerImages(j) {
  const n = atoms.example.length / N_ATOMS / BANDS.length;
  const bands = BANDS.flatMap((name, b) => {
    const band = j * BANDS.length + b;
    const found = entriesOf("example", band, n);
    if (!found.length) return [];
    const [high, low] = [0, 1].map((end) => figure(atoms.example_limit[2 * band + end]));
    const number = found.length === atoms.example_size[band] ? count(found.length, "image")
      : `${found.length} of ${count(atoms.example_size[band], "image")}`;
    return [make("h4", {}, name, make("span", {class: "muted"}, ` · ${number}, activations from ${high} to ${low}`)),
      make("div", {class: "grid small examples"}, ...found.map((entry) => firingTile("example", entry)))];
  });
  if (!bands.length) return [];
  return section("Images on which it fires less strongly", make("p", {class: "note"},
    "The strongest alone flatter an atom. These are the other images of this page on which it fires, by their activation."), ...bands);
}

function classTable(j) {
  const told = range(N_TOLD).map((t) => j * N_TOLD + t).filter((place) => atoms.auc[place] > 0.5);
  if (!told.length) return [];
  const rows = told.map((place) => {
    const rate = atoms.rate[place];
    return make("tr", {},
      make("th", {scope: "row", class: "name"}, classes[atoms.class[place]]),
      make("td", {}, percent(rate)),
      make("td", {}, percent(Math.max(0, rate - atoms.difference[place]))),
      make("td", {}, atoms.auc[place].toFixed(3)),
      make("td", {}, atoms.p[place] < 0.001 ? "<0.001" : atoms.p[place].toFixed(3)));
  });
  const head = ["Class", "fires in it", "in others", "AUC", "p (adjusted)"].map((name) => make("th", {scope: "col"}, name));
  return section("Classes it marks best", make("div", {class: "scroll"}, make("table", {class: "plain"},
    make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows))));
}

function activations(j) {
  const n = atoms.histogram.length / N_ATOMS;
  const counts = atoms.histogram.slice(j * n, (j + 1) * n);
  const label = `Histogram of the activations of ${atomName(j)}, up to ${figure(atoms.max[j])}`;
  return section("Activations", chart("Images by activation, where the atom fires",
    histogram(label, counts, atoms.low[j], atoms.high[j], "activation")));
}

function nearestAtoms(j) {
  const n = atoms.nearest.length / N_ATOMS;
  const found = range(n).filter((t) => atoms.nearest[j * n + t] >= 0);
  if (!found.length) return [];
  const title = data.members > 1 ? `Nearest atoms in the other ${data.member}s, and their cosines` : "Nearest atoms, and their cosines";
  return section(title, make("div", {class: "grid small nearest"}, ...found.map((t) =>
    atomTile(atoms.nearest[j * n + t], correlationText(atoms.cosine[j * n + t])))));
}
