/** What runs outside of a page's own thread: the model's side of `loadInWorker`, or a thread of a model's pool, as the first message says. */
export {};
