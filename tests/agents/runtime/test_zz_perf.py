from pathlib import Path
import collections, cProfile, os, pstats, time
from tests.runs import start_session
from tests.agents.conftest import *

def pg_cpu():
    t=0
    for p in filter(str.isdigit, os.listdir('/proc')):
        try:
            c=Path(f'/proc/{p}/cmdline').read_text()
            if 'postgres' not in c: continue
            f=Path(f'/proc/{p}/stat').read_text().rpartition(')')[2].split()
            t+=int(f[11])+int(f[12])+int(f[13])*0
        except OSError: pass
    return t/os.sysconf('SC_CLK_TCK')

def test_bench(workspace, settings):
    settings.DAYBREAK_HINTS=False
    from django.db import connection
    from agents.runtime import engine
    from agents.models import Thread
    script = "\n".join(f'custom: nothing {{"n": {n}}}' for n in range(100))
    s = start_session(workspace, script)
    t = Thread.objects.get(session=s)
    engine.advance(t.pk)
    engine.advance(t.pk)
    n1=s.steps.count(); m1=s.steps.filter(kind='model_request').count()
    p0=pg_cpu(); t0=time.perf_counter(); c0=time.process_time()
    for _ in range(10): engine.advance(t.pk)
    dt=time.perf_counter()-t0; dc=time.process_time()-c0; dp=pg_cpu()-p0
    n2=s.steps.count()
    print("\nper step wall ms", dt*1000/(n2-n1), "cpu ms", dc*1000/(n2-n1), "pg cpu", dp*1000/(n2-n1), n2-n1, "model", s.steps.filter(kind='model_request').count()-m1)
    qs=[]
    def wrap(execute, sql, params, many, context):
        qs.append(sql if isinstance(sql,str) else str(sql)); return execute(sql, params, many, context)
    with connection.execute_wrapper(wrap):
        engine.advance(t.pk)
    print("queries", len(qs))
    if os.environ.get("QS"):
        for q in qs[:60]: print("   ", q[:150].replace("\n"," "))
    pr=cProfile.Profile(); pr.enable()
    for _ in range(4): engine.advance(t.pk)
    pr.disable()
    if os.environ.get("PROF"):
        pstats.Stats(pr).sort_stats(os.environ["PROF"]).print_stats(45)
