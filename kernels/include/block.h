/* The work-group tile of the GPU schedule: WG x WG work-items sum BM rows x BN columns, each 4 x 4
 * of them, from two panels in local memory that hold BK steps of the sum.
 *
 *            a_panel[BK][BM_PITCH]    b_panel[BK][BN]
 *   acc[i] += a_panel[k][4 * ly + i] * b_panel[k][4 * lx .. 4 * lx + 3]
 */
#ifndef CLQ_BLOCK_H
#define CLQ_BLOCK_H

#ifndef WG /* side of the work-group: 16, 8, 4 */
#define WG 16
#endif
#define ITEMS (WG * WG)
#define BM (4 * WG)
#define BN (4 * WG)
#define BK 16             /* divides ITEMS */
#define BM_PITCH (BM + 4) /* spreads a panel's columns over the banks */

/* acc[4] += the panels' product. */
static inline void block_multiply(__local const float *a_panel, __local const float *b_panel,
                                  int lx, int ly, float4 *acc) {
    for (int k = 0; k < BK; k++) {
        const float4 a = vload4(0, a_panel + k * BM_PITCH + 4 * ly);
        const float4 b = vload4(0, b_panel + k * BN + 4 * lx);
        acc[0] = fma((float4)a.x, b, acc[0]);
        acc[1] = fma((float4)a.y, b, acc[1]);
        acc[2] = fma((float4)a.z, b, acc[2]);
        acc[3] = fma((float4)a.w, b, acc[3]);
    }
}

#endif
