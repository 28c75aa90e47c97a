/* On which processors the process runs. */
#ifndef EDGEKIT_PROCESSORS_H
#define EDGEKIT_PROCESSORS_H

/* From now on no more than `most` of those that it may use: the fastest, and of these the highest numbers. Where the
 * system refuses that it stays on all; the fact `affinity` tells. */
void use_processors(int most);

#endif
