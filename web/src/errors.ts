/** An error that its reader can act on: what is wrong, where, and what to do. */
export class OarlockError extends Error {
  override readonly name = "OarlockError";

  constructor(
    readonly what: string,
    readonly where = "",
    readonly todo = "",
  ) {
    super([what, where && `  where: ${where}`, todo && `  to do: ${todo}`].filter(Boolean).join("\n"));
  }
}
