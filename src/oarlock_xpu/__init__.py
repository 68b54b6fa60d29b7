"""The KunlunXin XPU as a target of Oarlock that lives outside of it: found by entry points, imported by nothing of Oarlock.

target.py    the targets xpu/k200, xpu/r200, xpu/kl3          chips.py    the table of chips
compiler/    graph, rules, kernels, code, the host's share    native.py   builds and loads native/xpu
device.py    the device of a session
"""
