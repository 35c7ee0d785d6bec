// Atoms that fire together, and images of similar codes.

/** Atoms whose firing correlates with that of an atom: a section of its details. */
function togetherAtoms(j) {
  const n = atoms.together.length / N_ATOMS;
  const found = range(n).filter((t) => atoms.together[j * n + t] >= 0);
  if (!found.length) return [];
  return section("Atoms that fire on the same images, and the correlation of their firing (phi)",
    make("div", {class: "grid small together"}, ...found.map((t) =>
      atomTile(atoms.together[j * n + t], correlationText(atoms.phi[j * n + t])))));
}

/** Images whose codes are alike: a section of an image's details. */
function similarImages(i) {
  const n = images.similar.length / N_IMAGES;
  const found = range(n).filter((t) => images.similar[i * n + t] >= 0);
  if (!found.length) return [];
  return section("Images of similar codes, and the cosines of their activations",
    make("div", {class: "grid small similar"}, ...found.map((t) => {
      const other = images.similar[i * n + t];
      return tileOf({kind: "image", index: other}, {title: imageName(other)},
        thumbnail("image", other, imageName(other)),
        make("div", {class: "caption"}, make("span", {class: "name"}, unseen(`${imageName(other)} `), imageClass(other) ?? ""),
          make("span", {}, unseen(", cosine "), correlationText(images.likeness[i * n + t]))));
    })));
}
