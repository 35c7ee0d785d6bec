// Addresses of what is shown: #atom-17 and #image-5, by the numbers of the column and of the row.

const NUMBERS = {atom: atoms.column, image: images.row};
const INDICES = Object.fromEntries(Object.entries(NUMBERS).map(
  ([kind, numbers]) => [kind, new Map(Array.from(numbers, (number, index) => [number, index]))]));
// A notebook's frame has no address of its own, and its history would be that of the notebook.
const FRAMED = window.parent !== window || location.protocol === "about:";

const addressOf = ({kind, index}) => `#${kind}-${NUMBERS[kind][index]}`;

/** What an address asks for, its index undefined if that is not on the page; null if nothing. */
function viewAt(address) {
  const found = /^#(atom|image)-(\d{1,10})$/.exec(address);
  return found && {kind: found[1], number: Number(found[2]), index: INDICES[found[1]].get(Number(found[2]))};
}

/** Give the history's new ("pushState") or present ("replaceState") entry what is shown. */
function setAddress(method) {
  if (FRAMED) return;
  const trailed = trail.map(addressOf);
  const address = location.href.split("#")[0] + (trailed.at(-1) ?? "");
  try { history[method]({trail: trailed}, "", address); } catch { /* Some viewers allow none. */ }
}

/** Show what the address asks for, as after Back and Forward. */
function followAddress() {
  const view = viewAt(location.hash);
  notify("");
  if (view?.index !== undefined) {
    const views = (history.state?.trail ?? []).map(viewAt).filter((other) => other?.index !== undefined);
    const last = views.at(-1);
    // An address that was typed has no trail.
    trail = last && addressOf(last) === location.hash ? views : [view];
    showLast();
    return;
  }
  dialog.close();
  const id = decoded(location.hash.slice(1));
  if (view) {
    notify(`There is no ${view.kind} ${view.number} on this page, which shows `
      + `${count(NUMBERS[view.kind].length, view.kind)}. The search box finds them by their numbers.`);
  } else if (id && !document.getElementById(id)) notify(`Nothing on this page has the address #${id}.`);
}

function decoded(text) {
  try { return decodeURIComponent(text); } catch { return text; }
}

/** Say something at the foot of the window; nothing for an empty text. */
function notify(text) {
  const close = () => make("button", {type: "button", "aria-label": "Close this message", click: () => notify("")}, "✕");
  find("#notice").replaceChildren(...(text ? [make("span", {}, text), close()] : []));
}
