// Lines of Python that give what is shown, and their way to the clipboard.

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch { return copySelected(text); } // Not every page may use the clipboard: a frame, say.
}

/** Copy as of old, from a selected field; in the dialog, as all else is out of reach while it is open. */
function copySelected(text) {
  const [field, focused] = [make("textarea", {class: "unseen", "aria-hidden": "true"}), document.activeElement];
  field.value = text;
  (dialog.open ? dialog : document.body).append(field);
  field.select();
  let done = false;
  try { done = document.execCommand("copy"); } catch { /* Then the reader selects it. */ }
  field.remove();
  focused?.focus({preventScroll: true});
  return done;
}

/** A button that copies a text, which may change, and says so on itself. */
function copyButton(text, name, label = "Copy") {
  const button = make("button", {type: "button", "aria-label": `${label} ${name}`, click: async () => {
    const done = await copyText(text());
    find("#said").textContent = button.textContent = done ? "Copied" : "Not copied";
    setTimeout(() => { button.textContent = label; }, 2000);
  }}, label);
  return button;
}

/** Lines with a button each. */
const pythonLines = (lines) => lines.map((line) => make("div", {class: "line"},
  make("code", {}, line), copyButton(() => line, line)));

const named = (line, n) => line.replaceAll("{n}", n).replaceAll("{next}", n + 1);

const pythonOf = (view, ...more) => section("In Python", ...pythonLines(
  data.python[view.kind].map((line) => named(line, NUMBERS[view.kind][view.index]))),
...more, make("p", {class: "note"}, data.python.names));

/** Lines that give an image's reconstruction as the editor shows it. */
function editedLines(editor) {
  const {built, state, n} = editor;
  const columns = built.indices.map((j, s) => atoms.column[j] + (PLACES ? built.places[s] * PLACES.atoms : 0));
  const chosen = range(n).filter((s) => (editor.isComplete ? editor.weights[s] !== 1 : editor.weights[s]));
  const [at, factors] = [columns, editor.weights].map((values) => `[${chosen.map((s) => values[s]).join(", ")}]`);
  const lines = [`codes = ${named(data.python.codes, images.row[built.i])}`];
  if (!editor.isComplete) lines.push("edited = np.zeros_like(codes)", `edited[0, ${at}] = codes[0, ${at}]`, "codes = edited");
  if (chosen.some((s) => editor.weights[s] !== 1)) lines.push(`codes[0, ${at}] *= ${factors}`);
  return [...lines, "image = sae.inverse_transform(codes)[0]"].join("\n");
}

/** The same, following the editor. */
function editedPython(editor) {
  const code = make("code", {tabindex: 0});
  editor.followers.push(() => { code.textContent = editedLines(editor); });
  return make("div", {class: "line"}, code, copyButton(() => code.textContent, "Python of this reconstruction"));
}
