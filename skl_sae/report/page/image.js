// An image's details, its reconstruction built up atom by atom.

function imageView(i) {
  const label = imageClass(i);
  const names = ["Original", ADDED ? "Built up" : "Reconstruction", "Difference"];
  const views = names.map((name) => canvas(`${name}, ${imageName(i)}`));
  const slider = make("input", {type: "range", min: 0, max: 0, step: 1, "aria-label": "Atoms added up"});
  const output = make("output");
  const list = make("div", {class: "grid small"});
  const curve = make("div", {class: "charts"});
  const frames = PLACES ? [0, 1].map(() => make("div", {class: "frame", hidden: ""})) : [];
  if (ADDED) buildUp(i).then((built) => connect(built, views, slider, output, list, curve, frames));
  else showWhole(i, views, list, frames);
  const pictures = views.map((view, v) => (frames[v] ? make("div", {class: "framed"}, view, frames[v]) : view));
  const pairs = [
    ["Correlation", correlationText(images.correlation[i])],
    ...(label === null ? [] : [["Class", make("span", {class: "name"}, label)]]),
    ["Row", String(images.row[i])],
    ["Active atoms", images.active[i].toLocaleString("en-GB")],
  ];
  return [
    make("div", {class: "beside"},
      make("div", {},
        make("div", {class: "views"}, ...pictures.map((view, v) => make("figure", {}, make("figcaption", {}, names[v]), view))),
        ADDED ? make("div", {class: "slider"}, slider, output) : make("p", {class: "note"},
          "Patches are normalized: each has its own mean and spread put back, so atoms do not simply add up.")),
      facts(pairs)),
    ...section("Its atoms, the strongest first, with their activations", list),
    ...(ADDED ? section("As they add up", curve) : []),
    ...similarImages(i),
  ];
}

/** The tiles of an image's atoms; those of small atoms frame their places while they are pointed at. */
function ownAtoms(i, frames, shown) {
  const [first, last] = [images.indptr[i], images.indptr[i + 1]];
  return Array.from(images.atom.slice(first, last), (j, s) => {
    const tile = atomTile(j, figure(images.code[first + s]));
    if (frames.length) {
      const point = (place) => frames.forEach((frame) => moveFrame(frame, place));
      for (const name of ["pointerenter", "focus"]) tile.addEventListener(name, () => point(images.place[first + s]));
      for (const name of ["pointerleave", "blur"]) tile.addEventListener(name, () => point(shown()));
    }
    return tile;
  });
}

/** Show an image whose atoms do not add up. */
function showWhole(i, views, list, frames) {
  paintTriple(i, views);
  list.append(...ownAtoms(i, frames, () => null));
}

/** What is needed to add up an image's atoms: codes and bytes of each, and both pictures. */
async function buildUp(i) {
  const [first, last] = [images.indptr[i], images.indptr[i + 1]];
  const indices = Array.from(images.atom.slice(first, last));
  const bytes = await Promise.all(indices.map((j) => pixels("atom", j)));
  const [original, guess] = await Promise.all([pixels("image", i), pixels("guess", i)]);
  const built = {i, indices, codes: images.code.slice(first, last), bytes, original, guess};
  if (PLACES) built.places = images.place.slice(first, last);
  built.rest = images.active[i] > indices.length;
  built.last = indices.length + (built.rest ? 1 : 0);
  const curve = Array.from(images.curve.slice(first + i, last + i + 1), (r) => r / 32767);
  if (built.rest) curve.push(0);
  curve[built.last] = images.correlation[i];
  built.curve = curve;
  // Thumbnails of atoms are rounded. The sum of these errors is spread evenly over the steps, so that
  // the last one is the reconstruction itself.
  built.error = new Float32Array(HEIGHT * WIDTH * CHANNELS);
  if (!built.rest) {
    const sum = addUp(built, indices.length);
    built.error = built.error.map((_, p) => {
      const place = GREY ? 4 * p : 4 * Math.floor(p / 3) + (p % 3);
      const target = LOW + (guess[place] / 255) * (HIGH - LOW);
      // Black and white stand for all that is beyond them.
      if ((guess[place] === 0 && sum[p] < target) || (guess[place] === 255 && sum[p] > target)) return 0;
      return target - sum[p];
    });
  }
  return built;
}

/** A picture, as large as images are, of the channels' centres. */
function evenCentre() {
  const [height, width] = PLACES.image;
  return new Float32Array(height * width * CHANNELS).map((_, p) => data.centre[p % CHANNELS]);
}

/** The centre plus the first n atoms, in the units of the data. */
function addUp(built, n) {
  let sum = PLACES ? evenCentre() : new Float32Array(data.centre);
  for (let s = 0; s < n; s += 1) {
    const factor = built.codes[s] * atoms.step[built.indices[s]];
    const bytes = built.bytes[s];
    if (PLACES) addAt(sum, built.places[s], bytes, factor);
    else for (let p = 0; p < sum.length; p += 1) {
      const place = GREY ? 4 * p : 4 * Math.floor(p / 3) + (p % 3);
      sum[p] += factor * (bytes[place] - 128);
    }
  }
  if (PLACES) sum = shrink(sum, PLACES.image);
  const part = n / Math.max(1, built.indices.length);
  return built.error ? sum.map((value, p) => value + part * built.error[p]) : sum;
}

function asBytes(sum) {
  const bytes = new Uint8ClampedArray(4 * HEIGHT * WIDTH).fill(255);
  for (let p = 0; p < HEIGHT * WIDTH; p += 1) {
    for (let c = 0; c < 3; c += 1) {
      bytes[4 * p + c] = ((sum[GREY ? p : 3 * p + c] - LOW) / (HIGH - LOW)) * 255;
    }
  }
  return bytes;
}

/** Let the slider add up the atoms of an image. */
function connect(built, views, slider, output, list, curve, frames) {
  const n = built.indices.length;
  // The atom added last is framed, but not in the complete reconstruction.
  const lastPlace = () => {
    const s = Number(slider.value);
    return s > 0 && s < built.last ? built.places[s - 1] : null;
  };
  const tiles = ownAtoms(built.i, frames, lastPlace);
  list.append(...tiles);
  const label = `Correlation from ${correlationText(built.curve[0])} with no atom to ${correlationText(built.curve[built.last])} with all`;
  const x = [0, Math.max(1, built.last)];
  const frame = lineChart(label, [built.curve.map((r, s) => [s, r])], "atoms", {x, whole: true});
  const mark = draw("circle", {class: "dot second", r: 5});
  frame.svg.append(mark);
  curve.append(chart("Correlation with the original", frame.svg));

  function update() {
    const s = Number(slider.value);
    const bytes = s === built.last && n ? built.guess : asBytes(addUp(built, Math.min(s, n)));
    paint(views[1], bytes);
    paint(views[2], difference(built.original, bytes), true);
    frames.forEach((frame) => moveFrame(frame, lastPlace()));
    tiles.forEach((tile, t) => tile.classList.toggle("silent", t >= s));
    const what = s === 0 ? "the centre alone" : s > n ? `all ${count(images.active[built.i], "atom")}` : `${s} of ${count(images.active[built.i], "atom")}`;
    output.textContent = `${what} · correlation ${correlationText(built.curve[s])}`;
    slider.setAttribute("aria-valuetext", output.textContent);
    mark.setAttribute("cx", frame.x(s));
    mark.setAttribute("cy", frame.y(built.curve[s]));
  }
  paint(views[0], built.original);
  slider.max = built.last;
  slider.value = built.last;
  slider.addEventListener("input", update);
  update();
}
