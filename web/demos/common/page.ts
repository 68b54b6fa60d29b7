/** What the demo pages share: elements, and the ways in which a picture comes in. */

export function at<E extends Element = HTMLElement>(id: string): E {
  return document.getElementById(id) as unknown as E;
}

export function make<K extends keyof HTMLElementTagNameMap>(tag: K, text = "", kind = ""): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  element.textContent = text;
  element.className = kind;
  return element;
}

export function svg<K extends keyof SVGElementTagNameMap>(tag: K, attributes: Record<string, string | number>): SVGElementTagNameMap[K] {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  return element;
}

/** 12.3 ms, 456 ms, 1.23 s. */
export function milliseconds(ms: number): string {
  if (ms >= 1000) return `${(ms / 1000).toFixed(2)} s`;
  return `${ms < 100 ? ms.toFixed(1) : ms.toFixed(0)} ms`;
}

/** Shows what went wrong, or nothing. */
export function showError(error?: unknown): void {
  const place = at("error");
  place.hidden = error === undefined;
  place.textContent = error === undefined ? "" : error instanceof Error ? error.message : String(error);
}

/** Pictures that are chosen, dropped or pasted. */
export function onPicture(input: HTMLInputElement, take: (file: Blob) => void): void {
  input.addEventListener("change", () => {
    const [file] = input.files ?? [];
    if (file) take(file);
    input.value = ""; // the same file may be chosen again
  });
  const label = input.closest("label");
  label?.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") input.click();
  });
  const given = (data: DataTransfer | null): boolean => {
    const [file] = data?.files ?? [];
    if (file) take(file);
    return Boolean(file);
  };
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dropping");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    if (!given(event.dataTransfer)) showError("what was dropped is no file: drop a picture from a folder");
  });
  document.addEventListener("paste", (event) => given(event.clipboardData));
}

/** A picture on a canvas, with an SVG of the same coordinates over it. */
export function shown(picture: ImageData, stage: HTMLElement): SVGSVGElement {
  const canvas = make("canvas");
  canvas.width = picture.width;
  canvas.height = picture.height;
  canvas.getContext("2d")!.putImageData(picture, 0, 0);
  const over = svg("svg", { viewBox: `0 0 ${picture.width} ${picture.height}`, "aria-hidden": "true" });
  stage.classList.remove("empty");
  stage.replaceChildren(canvas, over);
  return over;
}
