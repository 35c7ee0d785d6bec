// The map of atoms.

const NEAR = 150; // atoms in view, from which on they are pictures
const MAP_LETTERS = 24; // of a label that is written on the map
const map = {zoom: 1, x: 0, y: 0, pictures: new Map(), waiting: false, hovered: -1};
let mapDots = []; // place of each atom from 0 to 1

function startMap() {
  const canvas = find("#map-canvas");
  placeDots();
  find("#map-colour").append(...MEASURES.filter(({key}) => key !== "dead_in_training")
    .map((measure) => make("option", {value: measure.key}, plainName(measure))));
  if (N_TOLD) find("#map-colour").prepend(make("option", {value: "class"}, "Class it marks best"));
  find("#map-colour").value = N_TOLD ? "class" : "frequency";
  find("#map-colour").addEventListener("change", drawMap);
  canvas.setAttribute("aria-label", `Map of ${count(N_ATOMS, "atom")}; the table lists the same atoms`);
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return; // the wheel alone scrolls the page
    event.preventDefault();
    zoomMap(Math.exp(-event.deltaY / 400), mapPoint(event));
  }, {passive: false});
  canvas.addEventListener("pointermove", hoverMap);
  canvas.addEventListener("pointerleave", () => hintAt(-1));
  canvas.addEventListener("pointerdown", dragMap);
  find("#map-in").addEventListener("click", () => zoomMap(1.6, [0.5, 0.5]));
  find("#map-out").addEventListener("click", () => zoomMap(1 / 1.6, [0.5, 0.5]));
  find("#map-whole").addEventListener("click", () => { Object.assign(map, {zoom: 1, x: 0, y: 0}); drawMap(); });
  new ResizeObserver(drawMap).observe(canvas);
  find("#theme").addEventListener("click", drawMap);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawMap);
  drawMap();
}

/** Scale both directions alike, to fill the map but for a margin. */
function placeDots() {
  const ends = [0, 1].map((d) => {
    const values = range(N_ATOMS).map((j) => atoms.place[2 * j + d]);
    return [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
  });
  mapDots = range(N_ATOMS).map((j) => ends.map(([low, high], d) =>
    0.05 + 0.9 * (high > low ? (atoms.place[2 * j + d] - low) / (high - low) : 0.5)));
}

/** Place of an atom on the canvas as a fraction of its sides. */
const onMap = (j) => [0, 1].map((d) => (mapDots[j][d] - 0.5) * map.zoom + 0.5 + [map.x, map.y][d]);
const inView = (j) => onMap(j).every((u) => u > -0.02 && u < 1.02);

function mapPoint(event) {
  const box = find("#map-canvas").getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
}

/** Zoom by a factor about a point, which stays in place. */
function zoomMap(factor, [u, v]) {
  const zoom = Math.min(60, Math.max(1, map.zoom * factor));
  const ratio = zoom / map.zoom;
  map.x = u - 0.5 - (u - 0.5 - map.x) * ratio;
  map.y = v - 0.5 - (v - 0.5 - map.y) * ratio;
  map.zoom = zoom;
  keepOnMap();
  drawMap();
}

function keepOnMap() {
  const most = (map.zoom - 1) / 2;
  for (const axis of ["x", "y"]) map[axis] = Math.min(most, Math.max(-most, map[axis]));
}

/** Move the map, or open an atom if the pointer has not moved. */
function dragMap(event) {
  const canvas = event.currentTarget;
  const start = mapPoint(event);
  const [x, y] = [map.x, map.y];
  let moved = false;
  const ending = new AbortController();
  canvas.setPointerCapture(event.pointerId);
  canvas.addEventListener("pointermove", (next) => {
    const [u, v] = mapPoint(next);
    moved ||= Math.hypot(u - start[0], v - start[1]) > 0.01;
    if (!moved) return;
    Object.assign(map, {x: x + u - start[0], y: y + v - start[1]});
    keepOnMap();
    drawMap();
  }, {signal: ending.signal});
  canvas.addEventListener("pointerup", (next) => {
    ending.abort();
    const found = nearestDot(mapPoint(next));
    if (!moved && found >= 0) show({kind: "atom", index: found});
  }, {signal: ending.signal});
  canvas.addEventListener("pointercancel", () => ending.abort(), {signal: ending.signal});
}

/** The atom nearest to a point of the canvas, if it is near enough; otherwise -1. */
function nearestDot([u, v]) {
  const box = find("#map-canvas").getBoundingClientRect();
  let [best, least] = [-1, map.pictured ? 26 : 14];
  for (let j = 0; j < N_ATOMS; j += 1) {
    const [x, y] = onMap(j);
    const distance = Math.hypot((x - u) * box.width, (y - v) * box.height);
    if (distance < least) [best, least] = [j, distance];
  }
  return best;
}

function hoverMap(event) {
  hintAt(nearestDot(mapPoint(event)));
}

/** Show the atom that is pointed at beside it. */
function hintAt(j) {
  if (j === map.hovered) return;
  map.hovered = j;
  const hint = find("#map .hint");
  hint.hidden = j < 0;
  find("#map-canvas").classList.toggle("pointed", j >= 0);
  if (j >= 0) {
    const colour = find("#map-colour").value;
    const told = N_TOLD && !isDead(j) ? ` · ${classes[atoms.class[j * N_TOLD]]}` : "";
    const label = labelOf(j) ? [make("div", {class: "name own"}, labelOf(j))] : [];
    const measure = measureOf(colour) ?? measureOf("frequency");
    hint.replaceChildren(thumbnail("atom", j, atomName(j)), make("div", {class: "name"}, `${atomName(j)}${told}`),
      ...label, make("div", {class: "muted"}, `${plainName(measure)} ${measure.text(j)}`));
    const [u, v] = onMap(j);
    Object.assign(hint.style, {
      left: u < 0.5 ? `calc(${100 * u}% + 1rem)` : "auto", right: u < 0.5 ? "auto" : `calc(${100 - 100 * u}% + 1rem)`,
      top: v < 0.5 ? `${100 * v}%` : "auto", bottom: v < 0.5 ? "auto" : `${100 - 100 * v}%`,
    });
  }
  drawMap();
}

/** The colour of each atom: of its class, or from low to high by rank of a measure. */
function mapColours() {
  const key = find("#map-colour").value;
  const dead = isDark() ? "#777b84" : "#9a9791";
  if (key === "class") return range(N_ATOMS).map((j) => (isDead(j) ? dead : classColour(atoms.class[j * N_TOLD])));
  const measure = measureOf(key);
  const order = range(N_ATOMS).filter((j) => measure.number(j) !== null).sort((a, b) => measure.number(a) - measure.number(b));
  const colours = Array(N_ATOMS).fill(dead);
  order.forEach((j, rank) => { colours[j] = rankColour(rank / Math.max(1, order.length - 1)); });
  return colours;
}
const classColour = (c) => `hsl(${Math.round((360 * c) / Math.min(12, classes.length)) % 360} 62% ${(isDark() ? [62, 76, 50] : [48, 62, 38])[Math.floor(c / 12) % 3]}%)`;
const rankColour = (part) => `hsl(${Math.round(250 - 215 * part)} ${Math.round(45 + 35 * part)}% ${isDark() ? Math.round(42 + 20 * part) : Math.round(68 - 22 * part)}%)`;

function drawLegend() {
  const swatch = (colour, text) => {
    const item = make("span", {class: "name"}, text);
    item.style.setProperty("--swatch", colour);
    return item;
  };
  const key = find("#map-colour").value;
  const items = key === "class" ? classes.slice(0, 12).map((name, c) => swatch(classColour(c), name))
    : [["lowest", 0], ["middle", 0.5], ["highest", 1]].map(([text, part]) => swatch(rankColour(part), text));
  if (key === "class" && classes.length > 12) items.push(make("span", {class: "plain-text"}, `and ${classes.length - 12} more`));
  find(".map-legend").replaceChildren(...items);
}

function drawMap() {
  if (!mapDots.length) return; // before the map is started
  const canvas = find("#map-canvas");
  const density = Math.min(2, devicePixelRatio || 1);
  const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((side) => Math.round(side * density));
  if (!width || !height) return;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, {width, height});
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, width, height);
  const colours = mapColours();
  const visible = range(N_ATOMS).filter(inView);
  map.pictured = visible.length <= NEAR;
  const order = visible.filter((j) => j !== map.hovered).concat(visible.filter((j) => j === map.hovered));
  for (const j of order) {
    const [x, y] = onMap(j).map((u, d) => u * [width, height][d]);
    if (map.pictured) drawPicture(context, j, x, y, colours[j], density);
    else drawDot(context, x, y, colours[j], (j === map.hovered ? 7 : 3.2) * density, j === map.hovered);
  }
  drawLabels(context, order, density);
  drawLegend();
  canvas.dataset.drawn = "true";
}

const boxAround = (x, y, width, height) => ({left: x - width / 2, right: x + width / 2, top: y - height / 2, bottom: y + height / 2});
const boxesMeet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;

/** The readers' labels beside, below or above their atoms, the one that is pointed at first, where there is room. */
function drawLabels(context, visible, density) {
  const {width, height} = context.canvas;
  const side = 40 * density; // of a picture
  const at = (j) => onMap(j).map((u, d) => u * [width, height][d]);
  const taken = map.pictured ? visible.map((j) => boxAround(...at(j), side, side)) : [];
  const isFree = (box) => box.left >= 0 && box.right <= width && box.top >= 0 && box.bottom <= height && !taken.some((other) => boxesMeet(box, other));
  Object.assign(context, {font: `600 ${12 * density}px system-ui, sans-serif`, textAlign: "center", textBaseline: "middle", lineJoin: "round",
    lineWidth: 4 * density, fillStyle: isDark() ? "#e8e6e3" : "#23252a", strokeStyle: isDark() ? "#1f2125" : "#ffffff"});
  const written = [];
  for (const j of visible.filter(labelOf).reverse()) {
    const letters = [...labelOf(j)];
    const text = letters.length > MAP_LETTERS ? `${letters.slice(0, MAP_LETTERS - 1).join("")}…` : letters.join("");
    const [length, tall, [x, y]] = [context.measureText(text).width, 17 * density, at(j)];
    const away = map.pictured ? side / 2 + density : 7 * density;
    const [across, down] = [away + length / 2, away + tall / 2];
    const place = [[x + across, y], [x - across, y], [x, y + down], [x, y - down]].find(([u, v]) => isFree(boxAround(u, v, length, tall)));
    if (!place) continue;
    taken.push(boxAround(...place, length, tall));
    written.push(atoms.column[j]);
    context.strokeText(text, ...place);
    context.fillText(text, ...place);
  }
  context.canvas.dataset.written = written.join(" ");
}

function drawDot(context, x, y, colour, radius, marked) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fillStyle = colour;
  context.fill();
  if (!marked) return;
  context.strokeStyle = isDark() ? "#ffffff" : "#000000";
  context.lineWidth = radius / 4;
  context.stroke();
}

/** A thumbnail in a frame of its colour; pictures that are not decoded yet are drawn when they are. */
function drawPicture(context, j, x, y, colour, density) {
  const [height, width] = SIZES.atom;
  const side = (j === map.hovered ? 46 : 34) * density;
  const [w, h] = [side * Math.min(1, width / height), side * Math.min(1, height / width)];
  const border = (j === map.hovered ? 3 : 2) * density;
  context.fillStyle = colour;
  context.fillRect(x - w / 2 - border, y - h / 2 - border, w + 2 * border, h + 2 * border);
  const picture = map.pictures.get(j);
  if (picture?.dataset.drawn) {
    context.imageSmoothingEnabled = Math.max(height, width) > 32;
    context.drawImage(picture, x - w / 2, y - h / 2, w, h);
    return;
  }
  if (picture) return;
  const own = make("canvas", {width, height});
  map.pictures.set(j, own);
  pixels("atom", j).then((bytes) => {
    paint(own, bytes, true);
    if (map.waiting) return;
    map.waiting = true;
    requestAnimationFrame(() => { map.waiting = false; drawMap(); });
  });
}
