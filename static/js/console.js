// @ts-check
/** Everything the console's pages do beyond HTML and htmx. Each module enhances markup that works without it. */
import "./announce.js";
import "./clock.js";
import "./copy.js";
import "./dialogs.js";
import "./filter.js";
import "./find.js";
import "./inspector.js";
import "./keys.js";
import "./live.js";
import "./panes.js";
import "./picture/element.js";
import "./story.js";
import "./theme.js";
