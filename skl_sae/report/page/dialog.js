// The dialog that shows an atom or an image.

const dialog = find("dialog");
const trail = []; // what was opened, the last one being shown

function show(view) {
  trail.push(view);
  if (!dialog.open) dialog.showModal();
  showLast();
}

function showLast() {
  const view = trail[trail.length - 1];
  find("#dialog-title").replaceChildren(...(view.kind === "atom" ? atomTitle : imageTitle)(view.index));
  find("#back").hidden = trail.length < 2;
  const order = (view.kind === "atom" ? atomGallery : imageGallery).order;
  const place = order.indexOf(view.index);
  find("#previous").disabled = place <= 0;
  find("#next").disabled = place < 0 || place === order.length - 1;
  const body = find(".body", dialog);
  body.replaceChildren(...(view.kind === "atom" ? atomView : imageView)(view.index));
  body.scrollTop = 0;
  find("#dialog-title").focus({preventScroll: true});
}

/** The next (1) or the one before (-1) in the gallery's order. */
function turn(step) {
  const view = trail[trail.length - 1];
  const order = (view.kind === "atom" ? atomGallery : imageGallery).order;
  const place = order.indexOf(view.index);
  const index = order[place + step];
  if (place < 0 || index === undefined) return;
  trail[trail.length - 1] = {kind: view.kind, index};
  showLast();
}

const facts = (pairs) => make("dl", {class: "facts"},
  ...pairs.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
const section = (title, ...content) => [make("h3", {}, title), ...content];

const atomTitle = (j) => [data.members > 1 ? `${atomName(j)}, of member ${atoms.member[j] + 1}` : atomName(j)];
const imageTitle = (i) => [make("span", {class: "name"}, imageName(i))];
