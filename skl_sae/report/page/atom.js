// An atom's details.

function atomView(j) {
  const pairs = isDead(j) ? [["Use", "fires on none of the images"]] : [
    ["Use", `fires on ${percent(atoms.frequency[j])} of the images`],
    ...(PLACES ? [["Places", `fires at ${percent(atoms.place_frequency[j])} of all places`]] : []),
    ["Activation", `${figure(atoms.mean[j])} on average where it fires, ${figure(atoms.max[j])} at most`],
    ["Share", `${percent(atoms.share[j])} of the reconstructions' variance`],
  ];
  pairs.push(...measurePairs(j));
  const parts = [make("div", {class: "split"}, thumbnail("atom", j, atomName(j)), facts(pairs))];
  if (!isDead(j)) {
    parts.push(...topImages(j), make("div", {class: "pair"}, ...[classTable(j), activations(j)]
      .filter((part) => part.length).map((part) => make("div", {}, ...part))));
  }
  return [...parts, ...togetherAtoms(j), ...nearestAtoms(j)];
}

/** A top image with frames at the strongest places where the atom fires. */
function where(picture, entry) {
  if (!PLACES) return picture;
  const n = atoms.top_place.length / atoms.top.length;
  return framed(picture, Array.from(atoms.top_place.slice(entry * n, (entry + 1) * n)).filter((place) => place >= 0));
}

function topImages(j) {
  const n = atoms.top.length / N_ATOMS;
  const found = range(n).filter((t) => atoms.top[j * n + t] >= 0);
  if (!found.length) return section("Images on which it fires most strongly", make("p", {class: "muted"}, "None of those shown on this page."));
  return section("Images on which it fires most strongly", make("div", {class: "grid small top"}, ...found.map((t) => {
    const i = atoms.top[j * n + t];
    const code = figure(atoms.top_code[j * n + t]);
    return make("button", {
      class: "tile", type: "button", "data-image": i, title: imageName(i),
      "aria-label": `${imageName(i)}, activation ${code}`, click: () => show({kind: "image", index: i}),
    },
    where(thumbnail("image", i, imageName(i)), j * n + t),
    make("div", {class: "caption"}, make("span", {class: "name"}, imageClass(i) ?? ""), make("span", {}, code)));
  })));
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
  const title = data.members > 1 ? "Nearest atoms in the other members, and their cosines" : "Nearest atoms, and their cosines";
  return section(title, make("div", {class: "grid small nearest"}, ...found.map((t) =>
    atomTile(atoms.nearest[j * n + t], correlationText(atoms.cosine[j * n + t])))));
}
