// The page.

function isDark() {
  const theme = document.documentElement.dataset.theme;
  return theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}
function nameTheme() {
  find("#theme").textContent = isDark() ? "Light" : "Dark";
  find("#theme").setAttribute("aria-label", isDark() ? "Light colours" : "Dark colours");
}

find("#theme").addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  nameTheme();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", nameTheme);
find("#back").addEventListener("click", goBack);
find("#previous").addEventListener("click", () => turn(-1));
find("#next").addEventListener("click", () => turn(1));
find("#close").addEventListener("click", () => dialog.close());
dialog.addEventListener("close", leave);
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
dialog.addEventListener("keydown", (event) => {
  if (event.target.tagName === "INPUT") return;
  if (event.key === "ArrowLeft") turn(-1);
  if (event.key === "ArrowRight") turn(1);
});
window.addEventListener("popstate", followAddress);
if (FRAMED) { // whose links might lead to the notebook itself
  find("nav").addEventListener("click", (event) => {
    if (!event.target.hash) return;
    event.preventDefault();
    find(event.target.hash).scrollIntoView();
  });
}
for (const name of ["sort", "class"]) find(`#image-${name}`).addEventListener("change", updateImages);
for (const name of ["sort", "use", "member", "class"]) find(`#atom-${name}`).addEventListener("change", updateAtoms);

find("#images .note").after(colourKey("difference"));
find("#atoms .note").after(colourKey("atom"));
find("#labels-save").addEventListener("click", saveLabels);
find("#labels-save").hidden = FRAMED; // which may save no files
find("#labels-copy").replaceWith(copyButton(labelsText, "the labels as JSON"));
find("#labels-file").addEventListener("change", (event) => {
  if (event.target.files.length) readLabels(event.target.files[0]);
  event.target.value = ""; // so that the same file can be read again
});
const linkButton = copyButton(() => location.href, "to this", "Copy link");
linkButton.hidden = FRAMED;
find("#close").before(linkButton);
loadLabels();
if (images.label) options(find("#image-class"), classes);
if (data.members > 1) {
  const word = new RegExp(`^${data.member} `); // which is the label already
  options(find("#atom-member"), data.member_names.map((name) => name.replace(word, "")));
  if (data.member === "stage") find("#atom-member").previousSibling.data = "Stage ";
}
if (N_TOLD) {
  options(find("#atom-class"), classes);
  find("#atom-sort").append(make("option", {value: "selectivity"}, "by selectivity for a class"));
}
nameTheme();
explainMeasures();
drawTraining();
updateImages();
updateAtoms();
labelsChanged();
followAddress();
// After the first paint.
setTimeout(() => [startTable, startMap, startClasses, startCompare].forEach((start) => start()));
