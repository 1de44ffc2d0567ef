package admin

import (
	"embed"
	"net/http"
)

//go:embed ui
var page embed.FS // the status page: plain files, which ask for nothing from elsewhere

// policy lets the page load what is ours, and nothing else, and be in nobody's frame.
const policy = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"

// statusPage serves the page at / and its files below /ui/.
func statusPage(mux *http.ServeMux) {
	files := http.FileServerFS(page)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", policy)
		w.Header().Set("Cache-Control", "no-cache")
		http.ServeFileFS(w, r, page, "ui/index.html")
	})
	mux.HandleFunc("GET /ui/{file}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-cache") // they are embedded in a binary that may be another tomorrow
		w.Header().Set("X-Content-Type-Options", "nosniff")
		files.ServeHTTP(w, r)
	})
}
