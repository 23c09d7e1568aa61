// Runs before anything is shown: takes the token out of the address, and puts the chosen theme on.
// A classic script, because modules wait for the whole document. Knows nothing of what the token opens.
(() => {
  function takeToken() {
    const found = /[#&]token=([^&]*)/.exec(location.hash);
    if (!found) return false;
    history.replaceState(null, "", location.pathname + location.search);
    try {
      sessionStorage.setItem("api-host.token", decodeURIComponent(found[1]).replace(/[^\x21-\x7e]/g, ""));
    } catch {
      return false; // The browser keeps nothing, or the text is no token: the page asks for it.
    }
    return true;
  }
  takeToken();
  addEventListener("hashchange", () => takeToken() && location.reload());
  try {
    const theme = localStorage.getItem("api-host.theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // Without storage the system's theme stays.
  }
})();
