// Thumbnails.

const sheets = new Map();

/** The canvas of a sheet: browsers may decode a picture anew each time it is drawn. */
function sheet(kind, number) {
  const id = `${kind}-${number}`;
  if (!sheets.has(id)) {
    sheets.set(id, new Promise((resolve, reject) => {
      const picture = new Image();
      picture.onload = () => {
        const whole = make("canvas", {width: picture.width, height: picture.height});
        const context = whole.getContext("2d", {willReadFrequently: true});
        context.drawImage(picture, 0, 0);
        resolve(context);
      };
      picture.onerror = () => reject(new Error(`${id} is damaged`));
      picture.src = "data:image/webp;base64," + document.getElementById(id).textContent;
    }));
  }
  return sheets.get(id);
}

/** The bytes of a thumbnail, red, green, blue and alpha of each pixel. */
async function pixels(kind, index) {
  const context = await sheet(kind, Math.floor(index / TILES_A_SHEET));
  const place = index % TILES_A_SHEET;
  const [height, width] = SIZES[kind];
  const x = (place % data.across) * width;
  const y = Math.floor(place / data.across) * height;
  return context.getImageData(x, y, width, height).data;
}

// From negative to positive numbers, for bytes around 128: blue, white, red.
const STOPS = [[33, 82, 150], [103, 160, 207], [247, 247, 247], [226, 128, 98], [165, 22, 38]];
const SIGNED = Array.from({length: 256}, (_, byte) => {
  const place = Math.max(0, (byte - 1) / 254) * (STOPS.length - 1);
  const first = Math.min(Math.floor(place), STOPS.length - 2);
  return STOPS[first].map((c, i) => c + (place - first) * (STOPS[first + 1][i] - c));
});

function paint(canvas, bytes, signed) {
  const picture = new ImageData(canvas.width, canvas.height);
  picture.data.set(bytes);
  if (signed && GREY) {
    for (let i = 0; i < bytes.length; i += 4) picture.data.set(SIGNED[bytes[i]], i);
  }
  canvas.getContext("2d", {willReadFrequently: true}).putImageData(picture, 0, 0);
  canvas.dataset.drawn = "true";
}

function canvas(label, kind = "image") {
  const [height, width] = SIZES[kind];
  return make("canvas", {
    width, height, role: "img", "aria-label": label, class: Math.max(height, width) <= 32 && "pixelated",
  });
}

function thumbnail(kind, index, label) {
  const element = canvas(label, kind);
  pixels(kind, index).then((bytes) => paint(element, bytes, kind === "atom" || kind === "other"));
  return element;
}

/** Bytes around 128 of the difference of two pictures; full colour is half of the range. */
function difference(original, other) {
  const bytes = new Uint8ClampedArray(original.length);
  for (let i = 0; i < bytes.length; i += 1) {
    bytes[i] = i % 4 === 3 ? 255 : Math.max(1, 128 + original[i] - other[i]);
  }
  return bytes;
}

/** What the colours of atoms, or of differences, mean. */
function colourKey(kind) {
  const words = kind === "atom" ? ["takes away", "adds"] : ["darker", "brighter"];
  const bar = make("span", {class: GREY ? "bar signed" : "bar grey", role: "img", "aria-label": GREY ? "from blue over white to red" : "from dark over grey to bright"});
  const zero = GREY ? "white" : "middle grey, in each of red, green and blue,";
  const text = kind === "atom" ? `${zero[0].toUpperCase()}${zero.slice(1)} is 0.` : `The original against the reconstruction; ${zero} is no difference.`;
  return make("p", {class: "key"}, make("span", {}, words[0], bar, words[1]), make("span", {class: "muted"}, text));
}
