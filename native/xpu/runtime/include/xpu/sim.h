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

/* While it is on, kernels move and multiply nothing: what is counted and modelled is right, and numbers are not. */
XPU_API int xpu_sim_dry(int on);

/* Suppose that matrix units multiply floats as fast as operands of so many bytes (4: as they are), and that an allocation holds
 * so many bytes for each that it has (0.5: half floats).  For times of what kernels do not do yet; numbers stay those of floats. */
XPU_API int xpu_sim_suppose_operands(int bytes);
XPU_API int xpu_sim_suppose_bytes(const void* address, double factor);

/* What the kernels of the current device did since the last reset, as JSON; the text is the calling thread's until its next call.
 * {"chip": …, "modelled_us": all kernels' and graphs', "copies": {"h2d": bytes, "d2h": …, "d2d": …, "modelled_us": …},
 *  "graphs": {"launches", "modelled_us": what launching them, with their first kernels, takes},
 *  "kernels": {name: {"launches", "replayed" (launches by a graph), "modelled_us", "gm_read", "gm_written", "l3_read", "l3_written"
 *                     (bytes), "dma" (transfers), "ops", "macs", "barriers", "lm_peak", "sm_peak" (bytes),
 *                     "compute_us", "dma_us" (of the core or unit that took longest)}}}
 * Times are modelled, never measured: launch + the longest core's timeline (DMA beside computing where it is asynchronous), and no
 * faster than the memory's bandwidth or the matrix units' peak, of which programs reach the parts that chips.def has. */
XPU_API const char* xpu_sim_counters(void);
XPU_API int xpu_sim_reset_counters(void);

#ifdef __cplusplus
}
#endif
#endif /* XPU_SIM_H_ */
