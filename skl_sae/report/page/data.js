// Data.

const TYPES = {
  f4: Float32Array, u4: Uint32Array, i4: Int32Array, u2: Uint16Array, i2: Int16Array,
};

/** Arrays come as {type: base64}. */
function unpack(value) {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return value;
  const entries = Object.entries(value);
  if (entries.length === 1 && TYPES[entries[0][0]]) {
    const letters = atob(entries[0][1]);
    const bytes = new Uint8Array(letters.length);
    for (let i = 0; i < bytes.length; i += 1) bytes[i] = letters.charCodeAt(i); // faster than from()
    return new TYPES[entries[0][0]](bytes.buffer);
  }
  return Object.fromEntries(entries.map(([name, part]) => [name, unpack(part)]));
}

const data = unpack(JSON.parse(document.getElementById("data").textContent));
const {atoms, images, classes, curves} = data;
const TRAININGS = data.trainings.map(unpack); // of each fit; none of a model of another library
const [HEIGHT, WIDTH, CHANNELS] = data.tile;
const [LOW, HIGH] = data.range;
const TILES_A_SHEET = data.across ** 2;
const N_ATOMS = atoms.column.length;
const N_IMAGES = images.row.length;
const N_TOLD = atoms.class ? atoms.class.length / N_ATOMS : 0; // classes kept of each atom
const GREY = CHANNELS === 1;
const PLACES = data.places; // of small atoms; otherwise undefined
const ADDED = !PLACES || PLACES.added; // whether reconstructions are sums of atoms
const SIZES = {atom: data.atom_tile, other: data.atom_tile, image: data.tile, guess: data.tile, class: data.tile};

const percent = (x) => (x > 0 && x < 0.0005 ? "<0.1 %" : `${(100 * x).toFixed(x < 0.0995 ? 1 : 0)} %`);
const figure = (x) => {
  if (x === 0) return "0";
  const size = Math.abs(x);
  const text = size >= 1e5 || size < 1e-3 ? x.toExponential(1) : size >= 100 ? x.toFixed(0) : x.toPrecision(3);
  return text.replace("-", "−");
};
const count = (n, noun) => `${n.toLocaleString("en-GB")} ${noun}${n === 1 ? "" : noun.endsWith("s") ? "es" : "s"}`;
const correlationText = (r) => r.toFixed(3).replace("-", "−");
