// The table of atoms.

const ROWS_A_PAGE = 25;
const listed = {order: [], page: 0, key: "frequency", descending: true, picked: new Set()};

/** Columns: the atom's number and label, its member, the measures, and the class that it marks best. */
const tableColumns = () => [
  {key: "number", name: "Atom", number: (j) => atoms.column[j], text: (j) => String(atoms.column[j])},
  {key: "label", name: "Your label", gloss: "type it here", words: true, number: (j) => labelOf(j) || null, content: labelInput},
  ...(data.members > 1 ? [{key: "member", name: data.member === "stage" ? "Stage" : "Member", number: (j) => atoms.member[j], text: (j) => String(atoms.member[j] + 1)}] : []),
  ...MEASURES.flatMap((measure) => (measure.key === "selectivity" ? [{
    key: "class", name: "Best class", gloss: "by AUC", words: true, number: (j) => (isDead(j) ? null : atoms.class[j * N_TOLD]),
    text: (j) => (isDead(j) ? "–" : classes[atoms.class[j * N_TOLD]]),
  }, measure] : [measure])),
];

function startTable() {
  const measures = MEASURES.filter((measure) => measure.key !== "dead_in_training");
  find("#table-measure").append(...measures.map(({key, name}) => make("option", {value: key}, name)));
  if (N_TOLD) options(find("#table-class"), classes);
  for (const name of ["measure", "from", "to", "class", "use"]) find(`#table-${name}`).addEventListener("input", updateTable);
  find("#table-back").addEventListener("click", () => turnPage(-1));
  find("#table-on").addEventListener("click", () => turnPage(1));
  find("#pick-all").addEventListener("click", () => { listed.order.forEach((j) => listed.picked.add(j)); drawPage(); });
  find("#pick-none").addEventListener("click", () => { listed.picked.clear(); drawPage(); });
  find("#pick-copy").addEventListener("click", copyPicked);
  find("#picked").addEventListener("focus", (event) => event.target.select());
  find(".atom-table tbody").addEventListener("keydown", moveInTable);
  updateTable();
}

/** Whether an atom is within the limits of the filter; percentages are limits in per cent. */
function tableFilter() {
  const measure = measureOf(find("#table-measure").value);
  const limit = (id, otherwise) => {
    const text = find(id).value;
    return text === "" ? otherwise : Number(text) / (measure.part ? 100 : 1);
  };
  const [low, high] = [limit("#table-from", null), limit("#table-to", null)];
  const [label, use] = [find("#table-class").value, find("#table-use").value];
  return (j) => {
    const value = measure.number(j);
    if ((low !== null || high !== null) && value === null) return false;
    return (low === null || value >= low) && (high === null || value <= high)
      && (use === "" || (use === "labelled" ? labelOf(j) !== "" : isDead(j) === (use === "dead")))
      && (label === "" || (!isDead(j) && atoms.class[j * N_TOLD] === Number(label)));
  };
}

function updateTable() {
  const {number} = tableColumns().find(({key}) => key === listed.key);
  const sign = listed.descending ? 1 : -1;
  listed.order = range(N_ATOMS).filter(tableFilter()).sort((a, b) => {
    const [x, y] = [number(a), number(b)];
    if (x === null || y === null) return (x === null) - (y === null) || a - b;
    return sign * (typeof x === "string" ? y.localeCompare(x) : y - x) || a - b;
  });
  listed.page = 0;
  const n = listed.order.length;
  find("#table .count").textContent = n === N_ATOMS ? `All ${count(n, "atom")}.` : `${n.toLocaleString("en-GB")} of ${count(N_ATOMS, "atom")} match.`;
  drawHead();
  drawPage();
}

function drawHead() {
  const focused = document.activeElement?.dataset?.sort;
  const heads = tableColumns().map(({key, name, gloss, note, high, words}) => {
    const sorted = key === listed.key;
    const mark = make("span", {"aria-hidden": "true", class: "mark"}, sorted ? (listed.descending ? "▼" : "▲") : "");
    return make("th", {
      scope: "col", class: words && "words", "aria-sort": sorted && (listed.descending ? "descending" : "ascending"),
    }, make("button", {type: "button", "data-sort": key, title: note ? `${note}; ${high}` : name, click: () => sortTable(key)}, name, mark),
    make("span", {class: "gloss"}, gloss ?? ""));
  });
  find(".atom-table thead").replaceChildren(make("tr", {}, make("th", {scope: "col"}, make("span", {class: "unseen"}, "Selected")), ...heads));
  if (focused) find(`.atom-table [data-sort="${focused}"]`)?.focus();
  const measure = measureOf(listed.key);
  find("#table-note").textContent = measure ? `Sorted by ${plainName(measure)}: ${measure.note}; ${measure.high}.` : "";
}

/** Sort by a column; its first sort is from the largest, of what is no measure from the first. */
function sortTable(key) {
  const first = !["number", "label", "member", "class"].includes(key);
  listed.descending = listed.key === key ? !listed.descending : first;
  listed.key = key;
  updateTable();
}

function tableRow(j, columns) {
  const box = make("input", {type: "checkbox", "aria-label": `Select ${atomName(j)}`, change: () => pickAtom(j, box.checked)});
  box.checked = listed.picked.has(j);
  const open = make("button", {
    type: "button", class: "opener", "data-atom": j, "aria-label": `Open ${atomName(j)}`, click: () => show({kind: "atom", index: j}),
  }, thumbnail("atom", j, atomName(j)), make("span", {}, columns[0].text(j)));
  const cells = columns.slice(1).map(({text, content, words}) => make("td", {class: words && "name words"}, content ? content(j) : text(j)));
  const row = make("tr", {class: isDead(j) && "silent"}, make("td", {}, box), make("th", {scope: "row"}, open), ...cells);
  row.addEventListener("click", (event) => { if (!event.target.closest("input, button")) show({kind: "atom", index: j}); });
  return row;
}

function drawPage() {
  const first = listed.page * ROWS_A_PAGE;
  const columns = tableColumns();
  find(".atom-table tbody").replaceChildren(...listed.order.slice(first, first + ROWS_A_PAGE).map((j) => tableRow(j, columns)));
  const last = Math.max(0, Math.ceil(listed.order.length / ROWS_A_PAGE) - 1);
  find("#table-page").textContent = `Page ${listed.page + 1} of ${last + 1}`;
  find("#table-back").disabled = listed.page === 0;
  find("#table-on").disabled = listed.page === last;
  showPicked();
}

function turnPage(step) {
  listed.page += step;
  drawPage();
}

/** The arrow keys move among the atoms of a page. */
function moveInTable(event) {
  const step = {ArrowDown: 1, ArrowUp: -1}[event.key];
  const target = [...find(".atom-table tbody").rows].indexOf(event.target.closest("tr")) + step;
  const row = find(".atom-table tbody").rows[target];
  if (!step || !row) return;
  event.preventDefault();
  find({checkbox: "[type=checkbox]", text: "[type=text]"}[event.target.type] ?? "button", row).focus();
}

function pickAtom(j, chosen) {
  if (chosen) listed.picked.add(j);
  else listed.picked.delete(j);
  showPicked();
}

function showPicked() {
  const columns = [...listed.picked].map((j) => atoms.column[j]).sort((a, b) => a - b);
  find("#picked").value = columns.length ? `[${columns.join(", ")}]` : "";
  find("#picked-note").textContent = `${count(columns.length, "atom")} selected`;
  for (const id of ["#pick-none", "#pick-copy"]) find(id).disabled = !columns.length;
}

/** Copy the list; where a page may not, it is selected to be copied by the keyboard. */
async function copyPicked() {
  const field = find("#picked");
  if (await copyText(field.value)) find("#picked-note").textContent = `${count(listed.picked.size, "column")} copied`;
  else {
    field.focus();
    find("#picked-note").textContent = "Press Ctrl+C to copy";
  }
}
