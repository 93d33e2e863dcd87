// Previews of a wide screen, as small as their frames are wide.
const WIDTH = 1280;

export function fit(frame) {
  const page = frame.querySelector("iframe");
  new ResizeObserver(() => {
    const scale = Math.min(1, frame.clientWidth / WIDTH);
    page.style.transform = `scale(${scale})`;
    page.style.height = `${frame.clientHeight / scale}px`;
  }).observe(frame);
}
