"""`make up`: the whole stack until Ctrl-C, with a record of one's own as the first thing to try."""

import time
from pathlib import Path

from adgauge.adapters.settings import load_settings
from services.embedded.demo import MODEL, VERSION
from services.embedded.scorer import connection_variables, create_topics, start_scorer
from services.embedded.settings import EmbeddedSettings
from services.embedded.stack import running_stack

_TRY = """
Everything runs until Ctrl-C. In another terminal, from this folder:

{exports}

  echo '{{"parent_asin": "MY-1", "title": "Blue enamel mug", "features": ["350 ml"]}}' > my.jsonl
  .venv/bin/adgauge publish my.jsonl --wait
  .venv/bin/adgauge scores get MY-1
  .venv/bin/adgauge explain MY-1
  .venv/bin/adgauge check

Pictures: "images": [{{"large": "photo.jpg"}}] is looked for in {images}; https:// and data: URLs work too.
Metrics: {metrics}
"""


def run_up(images: Path) -> int:
    """Start everything and wait; raises ServerFailed when a server dies."""
    settings = load_settings(EmbeddedSettings)
    with running_stack(settings, [MODEL]) as stack:
        create_topics(stack)
        scorer = start_scorer(stack, settings.model_repository / MODEL / VERSION, images)
        variables = connection_variables(stack) | {
            "ADGAUGE_MODEL_DIR": str(settings.model_repository / MODEL / VERSION)
        }
        exports = "\n".join(f"  export {name}={value}" for name, value in variables.items())
        print(_TRY.format(exports=exports, images=images, metrics=scorer.metrics_url), flush=True)
        try:
            while True:
                stack.check()
                time.sleep(1.0)
        except KeyboardInterrupt:
            print("\nstopping")
    return 0
