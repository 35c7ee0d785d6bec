// Galleries.

/** Tiles of some things in some order, a few at a time; arrow keys move among them. */
function gallery(section, chunk, tile, noun, total) {
  const grid = find(".grid", section);
  const more = find(".more", section);
  const status = find(".count", section);
  const state = {order: [], show};
  let shown = 0;

  function extend() {
    const start = shown;
    shown = Math.min(state.order.length, shown + chunk);
    grid.append(...state.order.slice(start, shown).map(tile));
    [...grid.children].forEach((child, i) => { child.tabIndex = i === start ? 0 : -1; });
    more.hidden = shown === state.order.length;
    more.textContent = `Show more (${shown.toLocaleString("en-GB")} of ${state.order.length.toLocaleString("en-GB")})`;
    return grid.children[start];
  }
  function show(order) {
    state.order = order;
    shown = 0;
    grid.replaceChildren();
    extend();
    status.textContent = order.length === total ? `All ${count(total, noun)}.`
      : `${order.length.toLocaleString("en-GB")} of ${count(total, noun)}.`;
  }
  more.addEventListener("click", () => extend()?.focus());
  grid.addEventListener("keydown", (event) => {
    const columns = getComputedStyle(grid).gridTemplateColumns.split(" ").length;
    const step = {ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns}[event.key];
    const tiles = [...grid.children];
    const target = tiles[tiles.indexOf(document.activeElement) + step];
    if (!step || !target) return;
    event.preventDefault();
    tiles.forEach((other) => { other.tabIndex = -1; });
    target.tabIndex = 0;
    target.focus();
  });
  return state;
}

function options(select, names) {
  select.append(...names.map((name, i) => make("option", {value: i}, name)));
  select.parentElement.hidden = false;
}

const imageName = (i) => (images.name ? images.name[i] : `Row ${images.row[i]}`);
const shortName = (i) => imageName(i).split(/[/\\]/).pop() || imageName(i);
const imageClass = (i) => (images.label ? classes[images.label[i]] : null);
const atomName = (j) => `Atom ${atoms.column[j]}`;
const isDead = (j) => atoms.frequency[j] === 0;
const auc = (j) => (N_TOLD ? atoms.auc[j * N_TOLD] : 0);

/** Paint original, reconstruction and difference on three canvases. */
function paintTriple(i, shown) {
  Promise.all([pixels("image", i), pixels("guess", i)]).then(([original, guess]) => {
    paint(shown[0], original);
    paint(shown[1], guess);
    paint(shown[2], difference(original, guess), true);
  });
  return shown;
}

const triple = (i) => paintTriple(i,
  ["Original", "Reconstruction", "Difference"].map((name) => canvas(`${name} of ${shortName(i)}`)));

/** A button with pictures that opens something. Its name is its text, without the pictures'. */
function tileOf({kind, index}, attributes, ...content) {
  const tile = make("button", {
    class: "tile", type: "button", [`data-${kind}`]: index, click: () => show({kind, index}), ...attributes,
  }, ...content);
  for (const picture of tile.querySelectorAll("canvas")) picture.setAttribute("aria-hidden", "true");
  return tile;
}

function imageTile(i) {
  const label = imageClass(i);
  return tileOf({kind: "image", index: i}, {title: imageName(i)},
    make("div", {class: "triple"}, ...triple(i)),
    make("div", {class: "caption"},
      make("span", {class: "name"}, label === null ? shortName(i) : `${shortName(i)} · ${label}`),
      make("span", {}, unseen(", correlation "), correlationText(images.correlation[i]))));
}

function atomTile(j, caption = captions[find("#atom-sort").value](j)) {
  return tileOf({kind: "atom", index: j}, isDead(j) ? {class: "tile silent"} : {},
    thumbnail("atom", j, atomName(j)),
    make("div", {class: "caption"}, make("span", {}, unseen("Atom "), String(atoms.column[j])),
      make("span", {}, unseen(", "), caption)),
    labelLine(j));
}

const captions = {
  frequency: (j) => (isDead(j) ? "dead" : percent(atoms.frequency[j])),
  share: (j) => (isDead(j) ? "dead" : percent(atoms.share[j])),
  selectivity: (j) => (isDead(j) ? "dead" : auc(j).toFixed(2)),
  number: (j) => (isDead(j) ? "dead" : percent(atoms.frequency[j])),
};
const notes = {
  frequency: "Below each atom its number, and on how many of the images it fires.",
  share: "Below each atom its number, and its share of the reconstructions' variance.",
  number: "Below each atom its number, and on how many of the images it fires.",
};
for (const {key, text, note} of MEASURES) {
  captions[key] ??= text;
  notes[key] ??= `Below each atom its number, and ${note}.`;
}
if (data.members > 1 && data.member === "member") {
  for (const key of Object.keys(notes)) notes[key] += " Each member has atoms of its own, some of them much alike.";
}

const imageGallery = gallery(find("#images"), 12, imageTile, "image", N_IMAGES);
const atomGallery = gallery(find("#atoms"), 96, (j) => atomTile(j), "atom", N_ATOMS);

const range = (n) => Array.from({length: n}, (_, i) => i);
const descending = (key) => (a, b) => key(b) - key(a) || a - b;

function updateImages() {
  const label = find("#image-class").value;
  const order = range(N_IMAGES).filter((i) => label === "" || images.label[i] === Number(label));
  const sort = find("#image-sort").value;
  if (sort === "best") order.sort(descending((i) => images.correlation[i]));
  if (sort === "worst") order.sort(descending((i) => -images.correlation[i]));
  imageGallery.show(order);
}

function updateAtoms() {
  const [sort, use, member, label] = ["sort", "use", "member", "class"].map((name) => find(`#atom-${name}`).value);
  const key = {
    selectivity: (j) => (isDead(j) ? 0 : auc(j)), number: (j) => -atoms.column[j],
  }[sort] ?? ((j) => sortable(measureOf(sort), j));
  const order = range(N_ATOMS).filter((j) =>
    (use === "" || (use === "labelled" ? labelOf(j) !== "" : isDead(j) === (use === "dead")))
    && (member === "" || atoms.member[j] === Number(member))
    && (label === "" || (!isDead(j) && atoms.class[j * N_TOLD] === Number(label))));
  find("#atom-note").textContent = notes[sort];
  atomGallery.show(order.sort(descending(key)));
}
