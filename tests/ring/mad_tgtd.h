/* What mad_tgtd.c and honest_ring.c know of each other. */
#ifndef HF_TESTS_RING_MAD_TGTD_H
#define HF_TESTS_RING_MAD_TGTD_H

#define HONEST_MARK 0x21796c6e6f656e69ull /* in each block of the honest ring */

#endif
