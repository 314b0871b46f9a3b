/** Arrays as they come from the server or out of the file: a length, a JSON header, then the numbers, little-endian. */

const KINDS = { float32: Float32Array, int32: Int32Array };
const BYTES = 4; // of every number

/** Return the header's keys and each array by its name; `buffer` is an ArrayBuffer. */
export function unpacked(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const { arrays, ...rest } = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, BYTES, length)));
  let offset = BYTES + length;
  for (const { name, dtype, shape } of arrays) {
    const size = shape.reduce((product, side) => product * side, 1);
    rest[name] = new KINDS[dtype](buffer, offset, size);
    offset += BYTES * size;
    if (shape.length === 2) [rest.rows, rest.columns] = shape;
  }
  return rest;
}

/** Return the ArrayBuffer in a base64 text of gzip-compressed bytes. */
export async function decompressed(base64) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}
