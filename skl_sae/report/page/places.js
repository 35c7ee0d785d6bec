// Places of small atoms.

/** Row and column of the pixel at which a place begins, maybe outside of the image. */
function corner(place) {
  const at = [Math.floor(place / PLACES.columns), place % PLACES.columns];
  return at.map((n, i) => n * PLACES.stride[i] - PLACES.first[i]);
}

/** Move a frame to a place, or hide it where that is null. */
function moveFrame(frame, place) {
  frame.hidden = place === null;
  if (frame.hidden) return;
  const [height, width] = PLACES.image;
  const [top, left] = corner(place);
  Object.assign(frame.style, {
    top: `${100 * top / height}%`, left: `${100 * left / width}%`,
    height: `${100 * PLACES.atom[0] / height}%`, width: `${100 * PLACES.atom[1] / width}%`,
  });
}

/** A picture under frames at some places. */
function framed(picture, places) {
  const frames = places.map((place) => {
    const frame = make("div", {class: "frame"});
    moveFrame(frame, place);
    return frame;
  });
  return make("div", {class: "framed"}, picture, ...frames);
}

/** Of each of n new pixels, the old ones that it covers, and their weights in its mean. */
function covered(from, n) {
  return Array.from({length: n}, (_, i) => {
    const [low, high] = [i * from / n, (i + 1) * from / n];
    const old = Array.from({length: Math.ceil(high - 1e-9) - Math.floor(low)}, (_, p) => Math.floor(low) + p);
    return old.map((p) => [p, (Math.min(high, p + 1) - Math.max(low, p)) * n / from]);
  });
}

/** Shrink a picture to the size of a thumbnail: each pixel is the mean of those it covers. */
function shrink(picture, [height, width]) {
  if (height === HEIGHT && width === WIDTH) return picture;
  const small = new Float32Array(HEIGHT * WIDTH * CHANNELS);
  const columns = covered(width, WIDTH);
  covered(height, HEIGHT).forEach((rows, y) => columns.forEach((across, x) => {
    for (const [row, down] of rows) {
      for (const [column, part] of across) {
        for (let c = 0; c < CHANNELS; c += 1) {
          small[(y * WIDTH + x) * CHANNELS + c] += down * part * picture[(row * width + column) * CHANNELS + c];
        }
      }
    }
  }));
  return small;
}

/** Add a factor times an atom's bytes around 128 to a picture, at a place. */
function addAt(picture, place, bytes, factor) {
  const [height, width] = PLACES.image;
  const [top, left] = corner(place);
  const [tileHeight, tileWidth] = SIZES.atom; // smaller than the atom if that is large
  const [down, across] = [tileHeight / PLACES.atom[0], tileWidth / PLACES.atom[1]];
  for (let y = Math.max(0, top); y < Math.min(height, top + PLACES.atom[0]); y += 1) {
    for (let x = Math.max(0, left); x < Math.min(width, left + PLACES.atom[1]); x += 1) {
      const from = 4 * (Math.floor((y - top) * down) * tileWidth + Math.floor((x - left) * across));
      const to = (y * width + x) * CHANNELS;
      for (let c = 0; c < CHANNELS; c += 1) picture[to + c] += factor * (bytes[from + c] - 128);
    }
  }
}
