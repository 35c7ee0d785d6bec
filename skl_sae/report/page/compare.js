// Matched atoms of two members, or of two estimators.

const MATCHES = data.compare.entries.map(unpack);

function startCompare() {
  if (!MATCHES.length) return;
  const part = find("#compare");
  for (const element of [part, find('nav a[href="#compare"]')]) element.hidden = false;
  find("#compare-pair").append(...MATCHES.map(({names}, e) => make("option", {value: e}, names.join(" and "))));
  const pairs = gallery(part, 48, (p) => pairTile(chosenPair(), p), "pair", 0);
  const update = () => {
    const entry = chosenPair();
    const order = range(entry.cosine.length);
    if (find("#compare-sort").value === "last") order.reverse();
    find("#compare-note").textContent = `${percent(entry.shared)} of the pairs are the same atom (cosine of at least ${data.compare.same}); `
      + `the mean cosine is ${correlationText(entry.mean)}.`;
    find(".charts", part).replaceChildren(chart("Pairs by cosine", cosineHistogram(entry)));
    pairs.show(order);
    find(".count", part).textContent = `${count(order.length, "pair")} shown.`;
  };
  for (const id of ["#compare-pair", "#compare-sort"]) find(id).addEventListener("change", update);
  update();
}

const chosenPair = () => MATCHES[Number(find("#compare-pair").value)];

function cosineHistogram({cosine, names}) {
  const [low, high] = [Math.min(0, Math.floor(10 * cosine[cosine.length - 1]) / 10), 1];
  const counts = Array(20).fill(0);
  for (const value of cosine) counts[Math.min(19, Math.max(0, Math.floor(((value - low) / (high - low)) * 20)))] += 1;
  return histogram(`Histogram of the cosines of matched atoms of ${names.join(" and ")}`, counts, low, high, "cosine");
}

/** Two atoms side by side; the first can be opened, the second too if it is of this estimator. */
function pairTile(entry, p) {
  const [left, right] = [entry.left[p], entry.right[p]];
  const kind = entry.other ? "other" : "atom";
  const second = entry.other ? data.compare.column[right] : atoms.column[right];
  const name = `${atomName(left)} and atom ${second} of ${entry.names[1].toLowerCase()}, cosine `;
  return tileOf({kind: "atom", index: left}, {"data-atom": false, "data-pair": p},
    make("div", {class: "two"}, thumbnail("atom", left, atomName(left)), thumbnail(kind, right, `Atom ${second}`)),
    make("div", {class: "caption"}, make("span", {"aria-hidden": "true"}, `${atoms.column[left]} · ${second}`),
      make("span", {}, unseen(name), correlationText(entry.cosine[p]))),
    labelLine(left), ...(entry.other ? [] : [labelLine(right)]));
}
