/** Short notes that pass by themselves. */

class Toasts {
  current = $state<string | null>(null);
  #timer = 0;

  show(text: string) {
    clearTimeout(this.#timer);
    this.current = text;
    this.#timer = window.setTimeout(() => (this.current = null), 5000);
  }
}

export const toasts = new Toasts();
