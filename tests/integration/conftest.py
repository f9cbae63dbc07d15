# pytest finds fixtures by their names here.
from tests.misbehaving_server import make_source as make_source
from tests.misbehaving_server import server as server
