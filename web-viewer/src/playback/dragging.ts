/** Pointer, wheel and pinch on the timeline, as a Svelte attachment. */
import { pan, toMoment, zoom, type View } from './scale';

interface Reactions {
  view(): View;
  move(view: View): void;
  /** A press without a drag, in pixels from the left. */
  press(x: number): void;
  hover(x: number | null): void;
}

const DRAG_BEYOND_PX = 4;

export function dragging({ view, move, press, hover }: Reactions) {
  return (element: HTMLElement) => {
    const fingers = new Map<number, number>();
    let travelled = 0;
    const at = (event: MouseEvent) => event.clientX - element.getBoundingClientRect().left;
    const width = () => element.clientWidth;

    function down(event: PointerEvent) {
      if (event.button !== 0) return;
      element.setPointerCapture(event.pointerId);
      fingers.set(event.pointerId, at(event));
      if (fingers.size === 1) travelled = 0;
    }

    function moved(event: PointerEvent) {
      const x = at(event);
      const before = fingers.get(event.pointerId);
      if (before === undefined) {
        if (event.pointerType === 'mouse') hover(x);
        return;
      }
      const shown = view();
      const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
      if (other !== undefined) {
        const factor = Math.max(10, Math.abs(before - other)) / Math.max(10, Math.abs(x - other));
        move(zoom(shown, factor, toMoment(shown, width(), other)));
        travelled = Infinity;
      } else {
        travelled += Math.abs(x - before);
        if (travelled > DRAG_BEYOND_PX) {
          hover(null);
          move(pan(shown, ((before - x) / width()) * (shown.to - shown.from)));
        }
      }
      fingers.set(event.pointerId, x);
    }

    function up(event: PointerEvent) {
      const pressed = fingers.delete(event.pointerId) && fingers.size === 0 && travelled <= DRAG_BEYOND_PX;
      if (pressed && event.type === 'pointerup') press(at(event));
    }

    function wheel(event: WheelEvent) {
      event.preventDefault();
      const shown = view();
      const sideways = event.shiftKey ? event.deltaY : event.deltaX;
      if (Math.abs(sideways) > Math.abs(event.deltaY) || event.shiftKey)
        move(pan(shown, (sideways / width()) * (shown.to - shown.from)));
      else move(zoom(shown, Math.exp(event.deltaY * 0.0022), toMoment(shown, width(), at(event))));
    }

    const leave = () => hover(null);
    element.addEventListener('pointerdown', down);
    element.addEventListener('pointermove', moved);
    element.addEventListener('pointerup', up);
    element.addEventListener('pointercancel', up);
    element.addEventListener('pointerleave', leave);
    // Passive listeners may not keep the page from scrolling.
    element.addEventListener('wheel', wheel, { passive: false });
    return () => {
      element.removeEventListener('pointerdown', down);
      element.removeEventListener('pointermove', moved);
      element.removeEventListener('pointerup', up);
      element.removeEventListener('pointercancel', up);
      element.removeEventListener('pointerleave', leave);
      element.removeEventListener('wheel', wheel);
    };
  };
}
