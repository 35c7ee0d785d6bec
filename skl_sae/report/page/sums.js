// Reconstructions as sums of atoms, each with a weight: 1 as it is, 0 without it.

/** Where a number of a picture stands among bytes of red, green, blue and alpha. */
const byteOf = (p) => (GREY ? 4 * p : 4 * Math.floor(p / 3) + (p % 3));

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
  built.missing = missingFrom(addUp(built, indices.map(() => 1), false), guess);
  return built;
}

/** What a sum lacks of the reconstruction: the atoms that are not in it, and rounding. */
function missingFrom(sum, guess) {
  return sum.map((value, p) => {
    const byte = guess[byteOf(p)];
    const target = LOW + (byte / 255) * (HIGH - LOW);
    // Black and white stand for all that is beyond them.
    if ((byte === 0 && value < target) || (byte === 255 && value > target)) return 0;
    return target - value;
  });
}

/** A picture, as large as images are, of the channels' centres. */
function evenCentre() {
  const [height, width] = PLACES.image;
  return new Float32Array(height * width * CHANNELS).map((_, p) => data.centre[p % CHANNELS]);
}

/** The centre plus the atoms by their weights, and the rest if there is one, in the units of the data. */
function addUp(built, weights, rest) {
  let sum = PLACES ? evenCentre() : new Float32Array(data.centre);
  weights.forEach((weight, s) => {
    const factor = weight * built.codes[s] * atoms.step[built.indices[s]];
    const bytes = built.bytes[s];
    if (!factor) return;
    if (PLACES) addAt(sum, built.places[s], bytes, factor);
    else for (let p = 0; p < sum.length; p += 1) sum[p] += factor * (bytes[byteOf(p)] - 128);
  });
  if (PLACES) sum = shrink(sum, PLACES.image);
  if (!built.missing) return sum;
  // Thumbnails of atoms are rounded. The sum of these errors is spread evenly over the atoms, so that
  // all of them are the reconstruction itself.
  const total = weights.reduce((a, b) => a + b, 0);
  const part = built.rest ? Number(rest) : total / Math.max(1, weights.length);
  return sum.map((value, p) => value + part * built.missing[p]);
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

/** Correlation of an original's bytes with a sum, as thumbnails; 0 stands for an undefined one. */
function correlation(original, sum) {
  const n = sum.length;
  const [x, y] = [Float64Array.from(sum, (_, p) => original[byteOf(p)]), Float64Array.from(sum)];
  const [meanX, meanY] = [x, y].map((values) => values.reduce((a, b) => a + b, 0) / n);
  let [xx, xy, yy] = [0, 0, 0];
  for (let p = 0; p < n; p += 1) {
    const [a, b] = [x[p] - meanX, y[p] - meanY];
    xx += a * a; xy += a * b; yy += b * b;
  }
  return xx * yy > 0 ? xy / Math.sqrt(xx * yy) : 0;
}
