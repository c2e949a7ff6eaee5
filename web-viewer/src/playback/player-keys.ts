/** The keys of the player, as every player has them. */
import type { Playback } from './playback.svelte';

interface Actions {
  playback: Playback;
  previous(): void;
  next(): void;
  fullscreen(): void;
  zoom(factor: number): void;
}

/** A listener for the window; keys meant for a field, a dialog or a focused button are left alone. */
export function playerKeys({ playback, previous, next, fullscreen, zoom }: Actions) {
  const jump = (seconds: number) => playback.seek(playback.wall + seconds * 1000);
  const actions: Record<string, () => void> = {
    ' ': () => playback.toggle(),
    k: () => playback.toggle(),
    j: () => jump(-10),
    l: () => jump(10),
    ArrowLeft: () => jump(-5),
    ArrowRight: () => jump(5),
    ',': () => playback.stepFrame(-1),
    '.': () => playback.stepFrame(1),
    '[': previous,
    ']': next,
    '<': () => playback.shiftRate(-1),
    '>': () => playback.shiftRate(1),
    m: () => playback.toggleMuted(),
    f: fullscreen,
    '+': () => zoom(0.6),
    '=': () => zoom(0.6),
    '-': () => zoom(1 / 0.6),
  };
  return (event: KeyboardEvent) => {
    const target = event.target as HTMLElement;
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (target.closest('input, select, textarea, dialog')) return;
    if (event.key === ' ' && target.closest('button, a, summary')) return;
    const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action) return;
    event.preventDefault();
    action();
  };
}
