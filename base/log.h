/* The program's own journal: one line an event on standard error, `time level program: text
 * key=value…`; the supervisor keeps it. No secret is ever passed here. Any thread. */
#ifndef HF_BASE_LOG_H
#define HF_BASE_LOG_H

enum hf_log_level { HF_LOG_DEBUG, HF_LOG_INFO, HF_LOG_WARN, HF_LOG_ERROR };

/* Names the program in every line and reads the least level from HOLDFAST_LOG (debug, info, warn,
 * error; info if unset). `program` is kept by reference. */
void hf_log_init(const char *program);
void hf_log_write(enum hf_log_level level, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#define hf_debug(...) hf_log_write(HF_LOG_DEBUG, __VA_ARGS__)
#define hf_info(...)  hf_log_write(HF_LOG_INFO, __VA_ARGS__)
#define hf_warn(...)  hf_log_write(HF_LOG_WARN, __VA_ARGS__)
#define hf_error(...) hf_log_write(HF_LOG_ERROR, __VA_ARGS__)

#endif
