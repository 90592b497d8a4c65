from tests.test_api_sources import WRONG as S
from tests.test_api_links import WRONG as L, _world as lw
async def test_s(world):
    for body, field, message in S:
        e=await world.refused("POST","/sources",body)
        if message not in e.get(field,""): print("SRC",field,repr(message),e)
async def test_l(world):
    await lw(world)
    for body, field, message in L:
        e=await world.refused("POST","/links",body)
        if message not in e.get(field,""): print("LNK",field,repr(message),e)
async def test_f(world):
    from tests.test_api_findings import WRONG, _finding
    f=await _finding(world)
    for verb, body, field, message in WRONG:
        e=await world.refused("POST",f"/findings/{f['id']}/{verb}",body)
        if message not in e.get(field,""): print("FND",body,field,repr(message),e)
