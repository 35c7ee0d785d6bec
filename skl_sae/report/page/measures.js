// Measures of atoms: each is a column of the table and a sort key.

const cosineText = (x) => x.toFixed(2).replace("-", "−");
const chanceText = data.chance === null ? "" : `; any two images have ${cosineText(data.chance)}`;

/**
 * Key, name and gloss of each measure, what it is, what a high one says, its number of an atom (null if
 * undefined), and its text. Those of firing are undefined for dead atoms.
 */
const MEASURES = [
  {key: "frequency", name: "Use, %", gloss: "images it fires on", note: "on how many of the images it fires",
    high: "higher: more common", part: true, show: percent},
  {key: "place_frequency", name: "Places, %", gloss: "it fires at", note: "at how many of all places it fires",
    high: "higher: more common", part: true, show: percent},
  {key: "share", name: "Share, %", gloss: "of the variance", note: "its share of the reconstructions' variance",
    high: "higher: more of the differences between images depends on it", part: true, show: percent},
  {key: "mean", name: "Mean", gloss: "activation", note: "its mean activation where it fires",
    high: "higher: used more strongly", firing: true, show: figure},
  {key: "max", name: "Max", gloss: "activation", note: "its largest activation",
    high: "higher: used more strongly at least once", firing: true, show: figure},
  {key: "smoothness", name: "Smoothness", gloss: "of its picture", note: "how alike neighbouring pixels are (Moran's I; about 0 is noise)",
    high: "higher: larger even areas, near 1 at most", show: cosineText},
  {key: "spatial_coherence", name: "Coherence", gloss: "of its places",
    note: "how alike its activations at neighbouring places are (Moran's I; about 0 is places in random order)",
    high: "higher: it fires in connected areas", firing: true, show: cosineText},
  {key: "monosemanticity", name: "Monosemanticity", gloss: "alike images",
    note: `how alike the images are on which it fires (mean cosine of their embeddings by its activations${chanceText})`,
    high: "higher: its images have more in common", firing: true, show: cosineText},
  {key: "selectivity", name: "AUC", gloss: "of its best class", note: "how well it tells its best class from the others (AUC; 0.5 is chance)",
    high: "higher: fires more on that class than on others", firing: true, has: N_TOLD, number: (j) => auc(j), show: (x) => x.toFixed(2)},
  {key: "p_adjusted", name: "p", gloss: "of that AUC", note: "how probable such an AUC is by chance (p, adjusted for all atoms and classes)",
    high: "higher: more likely chance; take none above 0.05 for a finding", show: (x) => (x < 0.001 ? "<0.001" : x.toFixed(3))},
  {key: "accuracy", name: "Accuracy, %", gloss: "telling that class",
    note: "the balanced accuracy of telling that class by one threshold on it, on images held out (50 % is chance)",
    high: "higher: this atom alone is a better detector of the class", firing: true, part: true, show: percent},
  {key: "purity", name: "Purity, %", gloss: "most frequent class",
    note: "the share of the most frequent class among the images on which it fires",
    high: "higher: it fires for one class alone, if that class is not most of the images anyway", firing: true, part: true, show: percent},
  {key: "class_variance", name: "Classes, %", gloss: "of its variance", note: "the share of its activations' variance that lies between the classes",
    high: "higher: its activation depends more on the class", firing: true, part: true, show: percent},
  {key: "nearest_cosine", name: "Nearest", gloss: "atom, cosine", note: `its largest cosine with another atom of its ${data.member}`,
    high: "higher: near 1 it has a duplicate", show: cosineText},
  {key: "member_cosine", name: "Matches", gloss: `${data.member}s, cosine`, note: `its mean cosine with the atoms matched to it in the other ${data.member}s`,
    high: `higher: the other ${data.member}s have learned it too`, show: cosineText},
  {key: "compared_cosine", name: "Compared", gloss: "match, cosine", note: "its cosine with the atom matched to it in the compared estimator",
    high: `higher: from ${data.compare.same} on it counts as found again`, show: cosineText},
  {key: "encoder_cosine", name: "Encoder", gloss: "cosine", note: "its cosine with the weights of its encoder",
    high: "higher: it looks for what it draws", show: cosineText},
  {key: "dead_in_training", name: "Dead in training", gloss: "last epoch", note: "whether it fired on no sample of the last epoch",
    high: "yes: it was not in use when training ended", show: (x) => (x ? "yes" : "no")},
].filter(({key, has}) => has ?? atoms[key]).map((measure) => {
  const {key, firing, show} = measure;
  const raw = measure.number ?? ((j) => atoms[key][j]);
  const number = (j) => ((firing && isDead(j)) || Number.isNaN(raw(j)) ? null : raw(j));
  return {...measure, number, text: (j) => (number(j) === null ? "–" : show(number(j)))};
});

/** Names and texts of measures for an atom's details. */
function measurePairs(j) {
  const text = (key) => measureOf(key).text(j);
  const named = (name) => make("span", {class: "name"}, name);
  const pairs = [
    ["accuracy", "Accuracy", () => [`${text("accuracy")} right in telling `, named(classes[atoms.class[j * N_TOLD]]), " from the rest by one threshold, on images held out (50 % is chance)"]],
    ["purity", "Purity", () => [`${text("purity")} of the images on which it fires are of `, named(classes[atoms.dominant_class[j]]), ", the most frequent class there"]],
    ["class_variance", "Classes", () => [`explain ${text("class_variance")} of the variance of its activations`]],
    ["monosemanticity", "Monosemanticity", () => [`${text("monosemanticity")}: how alike the images are on which it fires${chanceText}`]],
    ["spatial_coherence", "Coherence", () => [`${text("spatial_coherence")}: how alike its activations at neighbouring places are; 0 is random order`]],
    ["nearest_cosine", "Nearest", () => [`cosine ${text("nearest_cosine")} with the nearest atom of its ${data.member}`]],
    ["member_cosine", "Matches", () => [`cosine ${text("member_cosine")} with its matches in other ${data.member}s, on average`]],
    ["compared_cosine", "Compared", () => [`cosine ${text("compared_cosine")} with its match in the compared estimator`]],
    ["encoder_cosine", "Encoder", () => [`cosine ${text("encoder_cosine")} with the weights of its encoder`]],
    ["dead_in_training", "In training", () => (atoms.dead_in_training[j] ? ["fired on no sample of the last epoch"] : null)],
  ];
  return pairs.filter(([key]) => measureOf(key) && measureOf(key).number(j) !== null)
    .map(([, name, words]) => [name, words()]).filter(([, words]) => words)
    .map(([name, words]) => [name, make("span", {}, ...words)]);
}

const measureOf = (key) => MEASURES.find((measure) => measure.key === key);
/** A number to sort by, undefined ones last. */
const sortable = (measure, j) => measure.number(j) ?? -Infinity;
const plainName = ({name}) => name.replace(", %", "");

for (const measure of MEASURES) {
  // Selectivity is added where the classes are.
  if (measure.key !== "selectivity" && !find(`#atom-sort option[value="${measure.key}"]`)) {
    find("#atom-sort").append(make("option", {value: measure.key}, `by ${plainName(measure).toLowerCase()}`));
  }
}

/** The measures in words: for all who cannot point at a heading. */
function explainMeasures() {
  find("#columns").append(facts(MEASURES.map((measure) => [plainName(measure), `${measure.note}; ${measure.high}.`])));
}
