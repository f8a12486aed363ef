// Runs before the first paint, so that a chosen theme never flashes.
document.documentElement.classList.add("has-script");
try {
  const theme = localStorage.getItem("theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage is switched off: the system's wish decides.
}
