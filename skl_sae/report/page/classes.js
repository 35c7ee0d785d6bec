// The classes.

function startClasses() {
  const page = data.class_page;
  if (!page) return;
  const part = find("#classes");
  for (const element of [part, find('nav a[href="#classes"]')]) element.hidden = false;
  const total = page.index.length;
  find(".count", part).textContent = total < classes.length
    ? `The ${total} of ${count(classes.length, "class")} with most images.` : `All ${count(total, "class")}.`;
  let shown = 0;
  const more = find(".more", part);
  const extend = () => {
    const cards = range(Math.min(12, total - shown)).map((c) => classCard(page, shown + c));
    shown += cards.length;
    find(".cards", part).append(...cards);
    more.hidden = shown === total;
    return cards[0];
  };
  more.addEventListener("click", () => find("button", extend()).focus());
  extend();
}

function classCard(page, c) {
  const n = page.atom.length / page.index.length;
  const found = range(n).filter((t) => page.atom[c * n + t] >= 0 && page.auc[c * n + t] > 0.5);
  const name = classes[page.index[c]];
  return make("article", {class: "card", "aria-label": `Class ${name}`},
    make("div", {class: "card-head"},
      thumbnail("class", c, `Mean image of class ${name}`),
      make("div", {},
        make("h3", {class: "name"}, name),
        make("p", {class: "muted"}, count(page.count[c], "image"), `, correlation ${correlationText(page.correlation[c])} on average`),
        make("button", {type: "button", click: () => showClass(page.index[c])}, "Show its images"))),
    make("div", {class: "grid small"}, ...found.map((t) => atomTile(page.atom[c * n + t], page.auc[c * n + t].toFixed(2)))));
}

/** Show a class's images in their gallery. */
function showClass(index) {
  find("#image-class").value = String(index);
  updateImages();
  find("#images").scrollIntoView();
  find("#image-class").focus({preventScroll: true});
}
