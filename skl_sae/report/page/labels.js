// Labels that the reader gives to atoms. The browser keeps them, if it keeps anything for this page.

const STORE = `skl_sae labels ${data.key}`;
const labels = new Map(); // texts by column

const labelOf = (j) => labels.get(atoms.column[j]) ?? "";
const columnOf = (key) => (/^\d{1,10}$/.test(key) ? Number(key) : null);

/** Take labels from {column: text}; their number, or null if it is something else. */
function takeLabels(content) {
  if (content === null || typeof content !== "object" || Array.isArray(content)) return null;
  const entries = Object.entries(content);
  if (!entries.every(([key, text]) => columnOf(key) !== null && typeof text === "string")) return null;
  for (const [key, text] of entries) {
    if (text.trim()) labels.set(columnOf(key), text.trim());
  }
  return entries.length;
}

/** What was kept stands for what the report was given, of which it began. */
function loadLabels() {
  let kept = null;
  try { kept = JSON.parse(localStorage.getItem(STORE)); } catch { /* None, or no storage in this frame. */ }
  if (takeLabels(kept) === null) takeLabels(data.labels);
}

function keepLabels() {
  try {
    localStorage.setItem(STORE, labelsText());
    return true;
  } catch { return false; }
}

function labelsText() {
  const sorted = [...labels].sort(([a], [b]) => a - b);
  return `{${sorted.map(([column, text]) => `\n  "${column}": ${JSON.stringify(text)}`).join(",")}\n}\n`;
}

function setLabel(j, text) {
  if (text.trim()) labels.set(atoms.column[j], text.trim());
  else labels.delete(atoms.column[j]);
  labelsChanged();
}

/** Show changed labels wherever they are, and keep them. */
function labelsChanged() {
  const kept = keepLabels();
  document.querySelectorAll(".tile .label").forEach(writeLabel);
  for (const field of document.querySelectorAll("input[data-label]")) {
    if (field !== document.activeElement) field.value = labelOf(Number(field.dataset.label));
  }
  drawMap();
  find("#labels-count").textContent = labels.size ? `${count(labels.size, "label")}.` : "None so far.";
  find("#labels-kept").textContent = kept ? "This browser keeps them for this report."
    : "This browser keeps nothing for this page: export them before you leave.";
  return kept;
}

/** The line of a tile for an atom's label. */
function labelLine(j) {
  const line = make("div", {class: "label name", "data-of": j});
  writeLabel(line);
  return line;
}

function writeLabel(line) {
  line.textContent = line.title = labelOf(Number(line.dataset.of));
}

/** A field for an atom's label, which is taken as it is typed. */
function labelInput(j, attributes = {"aria-label": `Label of ${atomName(j)}`}) {
  const field = make("input", {type: "text", maxlength: 200, autocomplete: "off", value: labelOf(j), "data-label": j,
    input: () => setLabel(j, field.value), ...attributes});
  return field;
}

/** The field on an atom's page, whose title has the label, too. */
function labelField(j) {
  const field = labelInput(j, {placeholder: "Name it, if you can"});
  field.addEventListener("input", () => find("#dialog-title").replaceChildren(...atomTitle(j)));
  return make("label", {class: "field"}, "Your label", field);
}

async function readLabels(file) {
  let content = null;
  try { content = JSON.parse(await file.text()); } catch { /* No JSON; said below. */ }
  const before = new Set(labels.keys());
  const n = takeLabels(content);
  labelsChanged();
  const absent = [...labels.keys()].filter((column) => !before.has(column) && !INDICES.atom.has(column)).length;
  find("#said-of-labels").textContent = n === null ? 'This file holds no labels, which look like {"17": "an edge"}.'
    : `${count(n, "label")} read${absent ? `, ${absent} of them of atoms that this page does not show` : ""}.`;
}

function saveLabels() {
  const url = URL.createObjectURL(new Blob([labelsText()], {type: "application/json"}));
  make("a", {href: url, download: "labels.json"}).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
