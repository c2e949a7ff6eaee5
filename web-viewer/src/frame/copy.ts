/** Copying a text for the person. */
import { toasts } from './toasts.svelte';

/** Copies and says so; where the browser forbids it (no TLS), the text is shown to be copied by hand. */
export async function copy(text: string, done: string) {
  try {
    await navigator.clipboard.writeText(text);
    toasts.show(done);
  } catch {
    // Without TLS there is no clipboard at all, and with it the browser may still refuse.
    toasts.show(text);
  }
}
