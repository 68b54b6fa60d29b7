/* What only the emulator has: which chip it is, what its kernels did, and what that would take on the chip by the model. */
#ifndef XPU_SIM_H_
#define XPU_SIM_H_

#include "xpu/runtime.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Become another chip (a name of chips.def) with so many devices.  XPUERR_BUSY once a device holds memory.
 * Without a call: the environment variables XPU_SIM_CHIP (r200) and XPU_SIM_DEVICES (1). */
XPU_API int xpu_sim_configure(const char* chip, int devices);
XPU_API const char* xpu_sim_chip(void);

/* What the kernels of the current device did since the last reset, as JSON; the text is the calling thread's until its next call.
 * {"chip": …, "modelled_us": all kernels', "copies": {"h2d": bytes, "d2h": …, "d2d": …, "modelled_us": …},
 *  "kernels": {name: {"launches", "modelled_us", "gm_read", "gm_written", "l3_read", "l3_written" (bytes), "dma" (transfers),
 *                     "ops", "macs", "barriers", "lm_peak", "sm_peak" (bytes)}}}
 * Times are modelled, never measured: launch + the longest core's timeline (DMA beside computing where it is asynchronous), and no
 * faster than the memory's bandwidth or the matrix units' peak. */
XPU_API const char* xpu_sim_counters(void);
XPU_API int xpu_sim_reset_counters(void);

#ifdef __cplusplus
}
#endif
#endif /* XPU_SIM_H_ */
