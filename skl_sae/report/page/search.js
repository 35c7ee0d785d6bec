// The search box: atoms and images by number, name, class and label.
{
  const AT_MOST = 24; // results that are listed
  const box = find("#search");
  const results = find("#found");
  let listed = [];

  const simple = (text) => text.normalize("NFC").toLowerCase();

  /** What a text finds, the most exact first: {kind, index} of atoms, images and classes. */
  function search(text) {
    const query = simple(text.trim());
    if (!query) return [];
    const [, kind, digits] = /^#?(atom|image|row)?[\s-]*(\d+)$/.exec(query) ?? [];
    const kinds = kind ? [kind === "row" ? "image" : kind] : ["atom", "image"];
    const found = new Map();
    const add = (view) => found.set(`${view.kind} ${view.index}`, view);
    const addAll = (of, n, matches) => range(n).filter(matches).forEach((index) => add({kind: of, index}));
    for (const of of digits ? kinds : []) {
      const index = INDICES[of].get(Number(digits));
      if (index !== undefined) add({kind: of, index});
    }
    addAll("atom", N_ATOMS, (j) => simple(labelOf(j)).includes(query));
    if (images.label) addAll("class", classes.length, (c) => simple(classes[c]).includes(query.replace(/^class\s+/, "")));
    if (images.name) addAll("image", N_IMAGES, (i) => simple(images.name[i]).includes(query));
    for (const of of digits ? kinds : []) {
      addAll(of, NUMBERS[of].length, (index) => String(NUMBERS[of][index]).startsWith(String(Number(digits))));
    }
    return [...found.values()];
  }

  /** Number of images of each class; they stay as they are. */
  const classSizes = images.label && Array.from(images.label).reduce((sizes, c) => { sizes[c] += 1; return sizes; }, classes.map(() => 0));

  const words = {
    atom: (j) => [atomName(j), labelOf(j) || (isDead(j) ? "dead" : `fires on ${percent(atoms.frequency[j])}`)],
    image: (i) => [images.name ? `Image ${images.row[i]} · ${images.name[i]}` : `Image ${images.row[i]}`, imageClass(i) ?? ""],
    class: (c) => [`Class ${classes[c]}`, count(classSizes[c], "image")],
  };

  function option(view, n) {
    const [name, more] = words[view.kind](view.index);
    const picture = view.kind === "class" ? make("span", {}) : thumbnail(view.kind, view.index, "");
    return make("div", {role: "option", id: `found-${n}`, "aria-selected": "false", click: () => choose(n)},
    picture, make("span", {class: "name"}, name), make("span", {class: "muted name"}, more));
  }

  function update() {
    const found = search(box.value);
    listed = found.slice(0, AT_MOST);
    const asked = box.value.trim();
    const said = !asked ? "" : !found.length ? `Nothing found for “${asked}”.`
      : found.length > AT_MOST ? `The first ${AT_MOST} of ${found.length.toLocaleString("en-GB")} found.` : `${found.length} found.`;
    results.replaceChildren(...listed.map(option));
    find("#search-said").textContent = said;
    setOpen(Boolean(asked));
  }

  function setOpen(isOpen) {
    find("#results").hidden = !isOpen;
    box.setAttribute("aria-expanded", String(isOpen && listed.length > 0));
    mark(-1);
  }

  const marked = () => [...results.children].findIndex((row) => row.getAttribute("aria-selected") === "true");

  /** Mark a result, or none for -1. */
  function mark(n) {
    [...results.children].forEach((row, other) => row.setAttribute("aria-selected", String(other === n)));
    if (n < 0) box.removeAttribute("aria-activedescendant");
    else {
      box.setAttribute("aria-activedescendant", `found-${n}`);
      results.children[n].scrollIntoView({block: "nearest"});
    }
  }

  function choose(n) {
    const view = listed[n];
    if (!view) return;
    setOpen(false);
    if (view.kind === "class") showClass(view.index);
    else show(view);
  }

  function searchKey(event) {
    const isOpen = !find("#results").hidden;
    const step = {ArrowDown: 1, ArrowUp: -1}[event.key];
    if (step && listed.length) {
      event.preventDefault();
      if (!isOpen) update();
      else mark((marked() + step + (marked() < 0 && step < 0 ? 1 : 0) + listed.length) % listed.length);
    } else if (event.key === "Enter" && isOpen) {
      event.preventDefault(); // which would press the tile that has the focus next
      choose(Math.max(0, marked()));
    } else if (event.key === "Escape" && isOpen) {
      event.preventDefault(); // which would empty the box
      setOpen(false);
    }
  }

  /** The key / leads to the box, but where it may be typed. */
  function slash(event) {
    const isText = event.target.closest?.("input:not([type=range], [type=checkbox], [type=file]), select, textarea");
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || isText) return;
    event.preventDefault();
    dialog.close();
    box.focus();
    box.select();
  }

  box.addEventListener("input", update);
  box.addEventListener("focus", () => { if (box.value.trim()) update(); });
  box.addEventListener("blur", () => setOpen(false));
  box.addEventListener("keydown", searchKey);
  // The box keeps the focus while the list is pressed or scrolled by the mouse.
  find("#results").addEventListener("mousedown", (event) => event.preventDefault());
  document.addEventListener("keydown", slash);
}
