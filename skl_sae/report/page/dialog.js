// The dialog that shows an atom or an image.

const dialog = find("dialog");
let trail = []; // what was opened, the last one being shown

function show({kind, index}) {
  trail.push({kind, index});
  setAddress("pushState");
  showLast();
}

const galleryOf = (view) => (view.kind === "atom" ? atomGallery : imageGallery);

function showLast() {
  const view = trail.at(-1);
  if (!dialog.open) dialog.showModal();
  find("#dialog-title").replaceChildren(...(view.kind === "atom" ? atomTitle : imageTitle)(view.index));
  find("#back").hidden = trail.length < 2;
  const {order} = galleryOf(view);
  const place = order.indexOf(view.index);
  find("#previous").disabled = place <= 0;
  find("#next").disabled = place < 0 || place === order.length - 1;
  const body = find(".body", dialog);
  body.replaceChildren(...(view.kind === "atom" ? atomView : imageView)(view.index));
  body.scrollTop = 0;
  find("#dialog-title").focus({preventScroll: true});
}

/** The one before in the trail. The history goes on: its own Back comes a moment later. */
function goBack() {
  trail.pop();
  setAddress("pushState");
  showLast();
}

/** The next (1) or the one before (-1) in the gallery's order. */
function turn(step) {
  const view = trail.at(-1);
  const {order} = galleryOf(view);
  const place = order.indexOf(view.index);
  const index = order[place + step];
  if (place < 0 || index === undefined) return;
  trail[trail.length - 1] = {kind: view.kind, index};
  setAddress("replaceState");
  showLast();
}

/** Once closed, the address is that of the page. */
function leave() {
  if (dialog.open) return;
  const shown = trail.length && addressOf(trail.at(-1));
  trail = [];
  if (location.hash === shown) setAddress("pushState");
}

const facts = (pairs) => make("dl", {class: "facts"},
  ...pairs.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
const section = (title, ...content) => [make("h3", {}, title), ...content];

/** The title of an atom, with the reader's label. */
function atomTitle(j) {
  const name = data.members > 1 ? `${atomName(j)}, of ${data.member_names[atoms.member[j]]}` : atomName(j);
  return labelOf(j) ? [`${name} · `, make("span", {class: "name"}, labelOf(j))] : [name];
}
const imageTitle = (i) => [make("span", {class: "name"}, imageName(i))];
