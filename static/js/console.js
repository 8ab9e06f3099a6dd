// @ts-check
/** Everything the console's pages do beyond HTML and htmx. Each module enhances markup that works without it. */
import "./announce.js";
import "./clock.js";
import "./copy.js";
import "./dialogs.js";
import "./filter.js";
import "./keys.js";
import "./lanes.js";
import "./live.js";
import "./theme.js";
