// What images would be without an atom.

const N_WITHOUT = 6;

/** The strongest images of an atom, reconstructed with it and without it. */
function withoutAtom(j) {
  const n = atoms.top.length / N_ATOMS;
  const found = entriesOf("top", j, n).slice(0, N_WITHOUT).map((entry) => atoms.top[entry]);
  if (!ADDED || !found.length) return [];
  return section("What these images would be without it",
    make("p", {class: "note"}, "The reconstruction with the atom and without it, and what it adds; "
      + "below them the correlation with the original, with it and without."),
    make("div", {class: "grid images without"}, ...found.map((i) => withoutTile(j, i))));
}

function withoutTile(j, i) {
  const shown = ["With", "Without", "Difference"].map((name) => canvas(`${name}, ${shortName(i)}`));
  const change = make("span", {});
  buildUp(i).then((built) => {
    const whole = built.indices.map(() => 1);
    const sums = [whole, whole.map((_, s) => (built.indices[s] === j ? 0 : 1))].map((weights) => addUp(built, weights, true));
    const [withIt, without] = sums.map(asBytes);
    paint(shown[0], withIt);
    paint(shown[1], without);
    paint(shown[2], difference(withIt, without), true);
    change.textContent = sums.map((sum) => correlationText(correlation(built.original, sum))).join(" → ");
  });
  return tileOf({kind: "image", index: i}, {title: imageName(i)},
    make("div", {class: "columns"}, make("span", {}, "with it"), make("span", {}, "without"), make("span", {}, "difference")),
    make("div", {class: "triple"}, ...shown),
    make("div", {class: "caption"}, make("span", {class: "name"}, shortName(i)), change));
}
