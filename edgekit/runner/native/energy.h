/* What an inference costs in energy, where the device has a counter: the rules of edgekit/runner/energy.py.
 *
 * Read between invokes, never by a thread. */
#ifndef EDGEKIT_ENERGY_H
#define EDGEKIT_ENERGY_H

#include <stddef.h>

void energy_open(void);  /* finds the first source that can be read */
void energy_idle(void);  /* measures for a second what the device takes while nothing runs, if there is a source */
void energy_start(void); /* before the first sample */
void energy_tick(void);  /* after every invoke: reads a sensor twice a second */

/* Instead of `energy_open`: there is to be no source, and why. */
void energy_refuse(const char *because);

/* After the last sample: the `energy` event is made of what was read until now. */
void energy_stop(size_t invokes);
void emit_energy(void);

#endif
