/** One ticking clock for every age and running time on the page. */
import { createSubscriber } from 'svelte/reactivity';

const subscribe = createSubscriber((update) => {
  const timer = setInterval(update, 1000);
  return () => clearInterval(timer);
});

/** The present in milliseconds; whoever reads it in a template is redrawn each second. */
export function now(): number {
  subscribe();
  return Date.now();
}
