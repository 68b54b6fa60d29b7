/** The model's side of `loadInWorker`: it loads and runs the model outside of the page's own thread. */
export {};
