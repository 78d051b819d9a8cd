"""``python -m tools.simulate``."""
import sys, time
from tools.simulate.simulation import Simulation
import logging
logging.disable(logging.CRITICAL)
a=int(sys.argv[1]); b=int(sys.argv[2]); 
t=time.perf_counter()
from collections import Counter
total=Counter(); ev=0; calm=0
for seed in range(a,b):
    p=Simulation(seed, tell=print if len(sys.argv)>3 else None).play(1000)
    total.update(p.sometimes); ev+=p.events; calm+=p.calm_steps
    if p.findings: print(seed,p.findings[0].rule, p.findings[0].at, p.findings[0].text)
print(time.perf_counter()-t, ev, calm); print(total)
