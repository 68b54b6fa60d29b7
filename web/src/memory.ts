/** Memory of tensors that come and go: blocks by their first byte, given back as soon as nobody reads them. */

const GRAIN = 1 << 16; // what is asked of the heap at once, at least
const ALIGNMENT = 64;

/** A piece of memory that `users` tensors lie in. */
export interface Block {
  start: number;
  bytes: number;
  users: number;
}

/**
 * Gives out the smallest free piece that is large enough; neighbours that are free become one piece.  So a loop whose tensors grow
 * from turn to turn, or a model that runs at one size and then at another, needs little more than what lives at one time.
 */
export class Arena {
  private free: { start: number; bytes: number }[] = []; // by their start
  private all: { start: number; bytes: number }[] = [];
  /** Bytes that are taken. */
  used = 0;

  constructor(private readonly heap: { take(bytes: number): number }) {}

  take(wanted: number): Block {
    const bytes = Math.max(ALIGNMENT, Math.ceil(wanted / ALIGNMENT) * ALIGNMENT);
    let found = this.fitting(bytes);
    if (found < 0) {
      this.grow(bytes);
      found = this.fitting(bytes);
    }
    const piece = this.free[found]!;
    const block = { start: piece.start, bytes, users: 0 };
    if (piece.bytes === bytes) this.free.splice(found, 1);
    else this.free[found] = { start: piece.start + bytes, bytes: piece.bytes - bytes };
    this.used += bytes;
    return block;
  }

  give({ start, bytes }: Block): void {
    this.used -= bytes;
    this.insert(start, bytes);
  }

  /** All is free again, whoever had it. */
  reset(): void {
    this.free = [];
    this.used = 0;
    for (const { start, bytes } of this.all) this.insert(start, bytes);
  }

  private fitting(bytes: number): number {
    let best = -1;
    for (let i = 0; i < this.free.length; i++) {
      const size = this.free[i]!.bytes;
      if (size >= bytes && (best < 0 || size < this.free[best]!.bytes)) best = i;
    }
    return best;
  }

  /** More from the heap: where that begins right after the last free piece, only what is missing. */
  private grow(bytes: number): void {
    const last = this.free.at(-1);
    const end = this.all.at(-1);
    const tail = last && end && last.start + last.bytes === end.start + end.bytes ? last.bytes : 0;
    for (const more of [bytes - tail, bytes]) {
      const size = Math.ceil(more / GRAIN) * GRAIN;
      const start = this.heap.take(size);
      this.all.push({ start, bytes: size });
      this.insert(start, size);
      if (this.fitting(bytes) >= 0) return;
    }
  }

  private insert(start: number, bytes: number): void {
    let low = 0;
    for (let high = this.free.length; low < high; ) {
      const middle = (low + high) >> 1;
      if (this.free[middle]!.start < start) low = middle + 1;
      else high = middle;
    }
    const [before, after] = [this.free[low - 1], this.free[low]];
    const left = before !== undefined && before.start + before.bytes === start;
    const right = after !== undefined && start + bytes === after.start;
    if (left && right) {
      before.bytes += bytes + after.bytes;
      this.free.splice(low, 1);
    } else if (left) before.bytes += bytes;
    else if (right) this.free[low] = { start, bytes: bytes + after.bytes };
    else this.free.splice(low, 0, { start, bytes });
  }
}
