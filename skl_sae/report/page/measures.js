// Measures of atoms: each is a column of the table and a sort key.

const ofFiring = (show) => (j) => (isDead(j) ? "–" : show(j));
const cosineText = (values) => (j) => values[j].toFixed(2).replace("-", "−");

/** Key, name and note of each measure, its number of an atom (null if undefined), and its text. */
const MEASURES = [
  {key: "frequency", name: "Use, %", note: "on how many of the images it fires", part: true, text: (j) => percent(atoms.frequency[j])},
  {key: "place_frequency", name: "Places, %", note: "at how many of all places it fires", part: true, text: (j) => percent(atoms.place_frequency[j])},
  {key: "share", name: "Share, %", note: "its share of the reconstructions' variance", part: true, text: (j) => percent(atoms.share[j])},
  {key: "mean", name: "Mean", note: "its mean activation where it fires", firing: true, text: (j) => figure(atoms.mean[j])},
  {key: "max", name: "Max", note: "its largest activation", firing: true, text: (j) => figure(atoms.max[j])},
  {key: "smoothness", name: "Smoothness", note: "how alike neighbouring pixels are (Moran's I; about 0 is noise)", text: cosineText(atoms.smoothness)},
  {key: "selectivity", name: "AUC", note: "how well it tells its best class from the others (AUC; 0.5 is chance)", firing: true, has: N_TOLD, number: (j) => auc(j), text: (j) => auc(j).toFixed(2)},
  {key: "accuracy", name: "Accuracy, %", note: "the balanced accuracy of telling that class by one threshold on it, on images held out (50 % is chance)", firing: true, part: true, text: (j) => percent(atoms.accuracy[j])},
  {key: "purity", name: "Purity, %", note: "the share of the most frequent class among the images on which it fires", firing: true, part: true, text: (j) => percent(atoms.purity[j])},
  {key: "nearest_cosine", name: "Nearest", note: "its largest cosine with another atom of its member", text: cosineText(atoms.nearest_cosine ?? [])},
  {key: "encoder_cosine", name: "Encoder", note: "its cosine with the weights of its encoder", text: cosineText(atoms.encoder_cosine ?? [])},
  {key: "dead_in_training", name: "Dead in training", note: "whether it fired on no sample of the last epoch", text: (j) => (atoms.dead_in_training[j] ? "yes" : "no")},
].filter(({key, has}) => has ?? atoms[key]).map((measure) => ({
  ...measure,
  text: measure.firing ? ofFiring(measure.text) : measure.text,
  number: (j) => (measure.firing && isDead(j) ? null : (measure.number ? measure.number(j) : atoms[measure.key][j])),
}));

/** Names and texts of measures for an atom's details. */
function measurePairs(j) {
  const dominant = () => make("span", {class: "name"}, classes[atoms.dominant_class[j]]);
  const pairs = [
    ["accuracy", () => [`${percent(atoms.accuracy[j])} for `, make("span", {class: "name"}, classes[atoms.class[j * N_TOLD]]), " by one threshold, on images held out"]],
    ["purity", () => [`${percent(atoms.purity[j])} of the images on which it fires are of `, dominant()]],
    ["nearest_cosine", () => [`cosine ${cosineText(atoms.nearest_cosine)(j)} with the nearest atom of its member`]],
    ["encoder_cosine", () => [`cosine ${cosineText(atoms.encoder_cosine)(j)} with the weights of its encoder`]],
    ["dead_in_training", () => (atoms.dead_in_training[j] ? ["fired on no sample of the last epoch"] : null)],
  ];
  const names = {accuracy: "Accuracy", purity: "Purity", nearest_cosine: "Nearest", encoder_cosine: "Encoder", dead_in_training: "In training"};
  return pairs.filter(([key]) => measureOf(key) && measureOf(key).number(j) !== null)
    .map(([key, words]) => [names[key], words()]).filter(([, words]) => words)
    .map(([name, words]) => [name, make("span", {}, ...words)]);
}

const measureOf = (key) => MEASURES.find((measure) => measure.key === key);
/** A number to sort by, undefined ones last. */
const sortable = (measure, j) => measure.number(j) ?? -Infinity;

for (const {key, name} of MEASURES) {
  // Selectivity is added where the classes are.
  if (key !== "selectivity" && !find(`#atom-sort option[value="${key}"]`)) {
    find("#atom-sort").append(make("option", {value: key}, `by ${name.replace(", %", "").toLowerCase()}`));
  }
}
